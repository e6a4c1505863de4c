// Asks for the first and end positions (low and high watermarks) of many partitions at once: one
// request a broker for the first positions and one for the ends.
//
// Invariant: what is known only rises (kafka_topic_raise_first(), kafka_topic_raise_end()). A
// partition without a leader is left out: asking for it would wait for an election.

#include "adapters/kafka/topic/watermarks.h"

#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/client/error.h"
#include "core/base/clock.h"

static rd_kafka_topic_partition_list_t *list_of(struct adapter_topic **topics, size_t count)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);

	for (size_t i = 0; i < count; ++i) {
		uint32_t partitions =
			__atomic_load_n(&topics[i]->partition_count, __ATOMIC_ACQUIRE);

		for (uint32_t number = 0; number < partitions; ++number) {
			struct kafka_partition *partition =
				kafka_topic_partition(topics[i], number);

			if (!__atomic_load_n(&partition->leaderless, __ATOMIC_ACQUIRE))
				rd_kafka_topic_partition_list_add(list, topics[i]->model->physical,
								  (int32_t)number)
					->opaque = partition;
		}
	}
	return list;
}

// Asks for one of the two places of every partition in the list.
static rd_kafka_resp_err_t place_ask(rd_kafka_t *handle, rd_kafka_topic_partition_list_t *list,
				     int64_t place, int timeout_ms)
{
	for (int i = 0; i < list->cnt; ++i) {
		list->elems[i].offset = place;
		list->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
	}
	return rd_kafka_offsets_for_times(handle, list, timeout_ms);
}

static rd_kafka_resp_err_t places_take(const rd_kafka_topic_partition_t *first,
				       const rd_kafka_topic_partition_t *end)
{
	struct kafka_partition *partition = first->opaque;

	if (first->err || end->err)
		return first->err ? first->err : end->err;
	if (first->offset < 0 || end->offset < 0)
		return RD_KAFKA_RESP_ERR__NO_OFFSET;
	kafka_topic_raise_first(partition, (uint64_t)first->offset);
	kafka_topic_raise_end(partition, (uint64_t)end->offset);
	__atomic_store_n(&partition->known, true, __ATOMIC_RELEASE);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t watermarks_refresh_all(struct adapter *adapter, struct adapter_topic **topics,
					   size_t count, int timeout_ms)
{
	_cleanup_(admin_handle_leave) struct admin_handle_entered entered =
		admin_handle_enter(adapter);
	rd_kafka_topic_partition_list_t *first = list_of(topics, count), *end;
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;

	end = rd_kafka_topic_partition_list_copy(first);
	if (first->cnt)
		error = place_ask(entered.handle, first, RD_KAFKA_OFFSET_BEGINNING, timeout_ms);
	if (first->cnt && !error)
		error = place_ask(entered.handle, end, RD_KAFKA_OFFSET_END, timeout_ms);
	for (int i = 0, asked = !error; asked && i < first->cnt; ++i) {
		rd_kafka_resp_err_t one = places_take(&first->elems[i], &end->elems[i]);

		error = one ? one : error; // the others are good, whatever one says
	}
	rd_kafka_topic_partition_list_destroy(first);
	rd_kafka_topic_partition_list_destroy(end);
	return error;
}

#define NEW_MS 2000 // a broker that is to lead a new partition may not have made it yet

// A partition that has just been made, or whose leader has just moved, is asked for again.
static rd_kafka_resp_err_t bounds_await(struct adapter_topic *topic)
{
	uint64_t began_ns = clock_now_ns();

	for (unsigned pause_ms = 5;; pause_ms = MIN(2 * pause_ms, 200u)) {
		rd_kafka_resp_err_t error =
			watermarks_refresh_all(topic->adapter, &topic, 1, ADMIN_HANDLE_CALL_MS);

		uint64_t most_ms = kafka_error_code(error) == CODE_NOT_FOUND ? NEW_MS
				   : kafka_error_is_transient(error)         ? ADMIN_HANDLE_CALL_MS
									     : 0;

		if (clock_now_ns() - began_ns >= most_ms * MS_NS ||
		    __atomic_load_n(&topic->gone, __ATOMIC_ACQUIRE))
			return error;
		usleep(pause_ms * 1000);
	}
}

enum code watermarks_refresh(struct adapter_topic *topic)
{
	rd_kafka_resp_err_t error = bounds_await(topic);
	uint32_t count = __atomic_load_n(&topic->partition_count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; !error && i < count; ++i)
		if (!__atomic_load_n(&kafka_topic_partition(topic, i)->known, __ATOMIC_ACQUIRE))
			error = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	return kafka_error_code(error);
}
