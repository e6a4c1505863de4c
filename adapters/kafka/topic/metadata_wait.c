// Waits until brokers know what the controller has done to a topic.
//
// A broker is asked by itself for the topic's settings: that answer is certainly its own, while
// metadata may come from any broker. Pauses grow from a few milliseconds.
//
// What it does not do: wait for a broker that does not answer, or whose answer the user may not
// see.

#include "adapters/kafka/topic/metadata_wait.h"

#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/client/admin_handle.h"
#include "core/base/clock.h"

#include <unistd.h>

rd_kafka_resp_err_t metadata_wait_ask(struct adapter *adapter, const char *physical,
				      uint32_t *ret_count, uint32_t *ret_led)
{
	_cleanup_(admin_handle_leave) struct admin_handle_entered entered =
		admin_handle_enter(adapter);
	rd_kafka_topic_t *topic = rd_kafka_topic_new(entered.handle, physical, NULL);
	const struct rd_kafka_metadata *metadata;
	const struct rd_kafka_metadata_topic *row;
	rd_kafka_resp_err_t error;

	if (!topic)
		return rd_kafka_last_error();
	error = rd_kafka_metadata(entered.handle, 0, topic, &metadata, ADMIN_HANDLE_CALL_MS);
	rd_kafka_topic_destroy(topic);
	if (error)
		return error;
	*ret_count = *ret_led = 0;
	row = metadata->topic_cnt ? &metadata->topics[0] : NULL;
	error = row ? row->err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (error == RD_KAFKA_RESP_ERR_NO_ERROR ||
	    error == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) {
		*ret_count = (uint32_t)row->partition_cnt;
		for (int i = 0; i < row->partition_cnt; ++i)
			*ret_led += row->partitions[i].leader >= 0;
		error = RD_KAFKA_RESP_ERR_NO_ERROR;
	} else if (error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
		error = RD_KAFKA_RESP_ERR_NO_ERROR;
	}
	rd_kafka_metadata_destroy(metadata);
	return error;
}

rd_kafka_resp_err_t metadata_wait_partitions(struct adapter *adapter, const char *physical,
					     uint32_t wanted)
{
	uint64_t until_ns = clock_now_ns() + METADATA_WAIT_MS * MS_NS;

	for (unsigned pause_ms = 2;; pause_ms = MIN(2 * pause_ms, 100u)) {
		uint32_t count, led;
		rd_kafka_resp_err_t error = metadata_wait_ask(adapter, physical, &count, &led);

		if (!error && (wanted ? led >= wanted : count == 0))
			return RD_KAFKA_RESP_ERR_NO_ERROR;
		if (clock_now_ns() >= until_ns)
			return error ? error : RD_KAFKA_RESP_ERR__TIMED_OUT;
		usleep(pause_ms * 1000);
	}
}

// How many brokers there are, and which; the caller frees them. 0: no broker tells.
static size_t brokers_ask(struct adapter *adapter, int32_t **ret_brokers)
{
	_cleanup_(admin_handle_leave) struct admin_handle_entered entered =
		admin_handle_enter(adapter);
	const struct rd_kafka_metadata *metadata;
	size_t count = 0;

	if (rd_kafka_metadata(entered.handle, 0, NULL, &metadata, ADMIN_HANDLE_CALL_MS))
		return 0;
	*ret_brokers = calloc((size_t)metadata->broker_cnt + 1, sizeof **ret_brokers);
	for (; *ret_brokers && count < (size_t)metadata->broker_cnt; ++count)
		(*ret_brokers)[count] = metadata->brokers[count].id;
	rd_kafka_metadata_destroy(metadata);
	return count;
}

void metadata_wait_brokers(struct adapter *adapter, const char *physical, bool there)
{
	uint64_t until_ns = clock_now_ns() + METADATA_WAIT_MS * MS_NS;
	int32_t *brokers = NULL;
	size_t count = brokers_ask(adapter, &brokers), at = 0;

	while (at < count && clock_now_ns() < until_ns) {
		rd_kafka_resp_err_t error = admin_client_describe_configs(
			adapter, brokers[at], RD_KAFKA_RESOURCE_TOPIC, &physical, 1, NULL, NULL);
		bool known = error != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;

		if (known == there || (error && known))
			++at;
		else
			usleep(5000);
	}
	free(brokers);
}
