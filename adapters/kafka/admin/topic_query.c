// Describes a topic, reads messages from it for an operator, and purges it.
//
// Reading uses the fetcher and its rings, like any reader, and waits for events on the admin loop.

#include "adapters/kafka/admin/topic_query.h"

#include "adapters/kafka/admin/admin_request.h"
#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/client/task.h"
#include "adapters/kafka/read/fetcher.h"
#include "adapters/kafka/topic/topic.h"
#include "adapters/kafka/topic/watermarks.h"
#include "adapters/log/messages.h"

// The topic with bounds just asked for; NULL: the request says why not.
static struct adapter_topic *topic_look(struct adapter *adapter, struct admin_request *request)
{
	struct adapter_topic *open = kafka_topic_open(adapter, request->base.topic);
	enum code code = open ? watermarks_refresh(open) : CODE_NOT_FOUND;

	if (code == CODE_OK)
		return open;
	request->code = code;
	if (open)
		kafka_topic_close(open);
	return NULL;
}

static uint32_t count_of(struct adapter_topic *open)
{
	return __atomic_load_n(&open->partition_count, __ATOMIC_ACQUIRE);
}

// ---- describing

static void describe_run(struct adapter *adapter, struct admin_request *request)
{
	struct adapter_topic *open = topic_look(adapter, request);
	struct described_partition *rows;
	uint32_t count;

	if (!open)
		return;
	count = count_of(open);
	rows = request->work = calloc(count, sizeof *rows);
	for (uint32_t i = 0; rows && i < count; ++i) {
		rows[i] = (struct described_partition){.partition = i,
						       .messages = ANSWER_NONE,
						       .bytes = ANSWER_NONE,
						       .oldest_ms = ANSWER_NONE};
		kafka_topic_bounds(open, i, &rows[i].first, &rows[i].end);
	}
	if (!rows)
		admin_request_refuse(request, CODE_OVERLOADED, "");
	request->answer =
		(struct adapter_answer){.kind = ANSWER_DESCRIBE, .describe = {rows, count}};
	kafka_topic_close(open);
}

void topic_query_describe(struct adapter *adapter, const struct topic *topic,
			  adapter_answer_fn done, void *ctx)
{
	struct admin_request *request = admin_request_new(
		&(struct request){.topic = topic, .answer_done = done, .ctx = ctx}, 0);

	if (request)
		admin_request_start(adapter, request, describe_run);
}

// ---- purging

static void records_delete(struct adapter *adapter, struct admin_request *request,
			   const rd_kafka_topic_partition_list_t *until)
{
	rd_kafka_DeleteRecords_t *wish = rd_kafka_DeleteRecords_new(until);
	const rd_kafka_topic_partition_list_t *answered;
	struct admin_client client;
	const char *text = NULL;
	rd_kafka_resp_err_t error;

	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_DELETERECORDS, &client);
	rd_kafka_DeleteRecords(client.handle, &wish, 1, client.options, client.queue);
	error = admin_client_await(&client, &text);
	answered = error ? NULL
			 : rd_kafka_DeleteRecords_result_offsets(
				   rd_kafka_event_DeleteRecords_result(client.event));
	for (int i = 0; answered && !error && i < answered->cnt; ++i) {
		error = answered->elems[i].err;
		text = NULL;
	}
	admin_request_failed(request, adapter, error, text);
	admin_client_end(&client);
	rd_kafka_DeleteRecords_destroy(wish);
}

static void purge_run(struct adapter *adapter, struct admin_request *request)
{
	struct adapter_topic *open = topic_look(adapter, request);
	rd_kafka_topic_partition_list_t *until;
	uint64_t messages = 0;

	if (!open)
		return;
	until = rd_kafka_topic_partition_list_new((int)count_of(open));
	for (uint32_t i = 0; i < count_of(open); ++i) {
		uint64_t first, end;

		kafka_topic_bounds(open, i, &first, &end);
		messages += end - first;
		rd_kafka_topic_partition_list_add(until, request->base.topic->physical, (int32_t)i)
			->offset = (int64_t)end;
	}
	if (!request->base.preview)
		records_delete(adapter, request, until);
	for (int i = 0; !request->base.preview && request->code == CODE_OK && i < until->cnt; ++i)
		kafka_topic_raise_first(kafka_topic_partition(open, (uint32_t)i),
					(uint64_t)until->elems[i].offset);
	request->answer = (struct adapter_answer){
		.kind = ANSWER_PURGE, .purge = {.messages = messages, .bytes = ANSWER_NONE}};
	rd_kafka_topic_partition_list_destroy(until);
	kafka_topic_close(open);
}

void topic_query_purge(struct adapter *adapter, const struct topic *topic, bool preview,
		       adapter_answer_fn done, void *ctx)
{
	struct admin_request *request = admin_request_new(
		&(struct request){
			.topic = topic, .preview = preview, .answer_done = done, .ctx = ctx},
		0);

	if (request)
		admin_request_start(adapter, request, purge_run);
}

// ---- reading

struct reading {
	struct admin_request *request;
	struct log_fetch fetch;
	struct stored_message rows[MESSAGE_QUERY_MAX];
	int64_t time_ms;
	bool by_time;
};

static void reading_free(void *work)
{
	struct reading *reading = work;

	buf_unref(reading->fetch.buf);
	if (reading->fetch.topic)
		kafka_topic_close(reading->fetch.topic);
	free(reading);
}

static void reading_finish(struct reading *reading)
{
	struct admin_request *request = reading->request;

	request->code = reading->fetch.code;
	if (request->code == CODE_OK)
		request->answer = messages_answer(&reading->fetch, reading->rows);
}

static void on_fetched(struct loop_task *task)
{
	struct reading *reading = CONTAINER_OF(task, struct reading, fetch.task);

	reading_finish(reading);
	admin_request_end(reading->request);
}

// Where the first message of that time or later is; the end, when there is none.
static bool time_resolve(struct adapter *adapter, struct admin_request *request, uint32_t partition,
			 int64_t time_ms, uint64_t *ret)
{
	_cleanup_(admin_handle_leave) struct admin_handle_entered entered =
		admin_handle_enter(adapter);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_t *row = rd_kafka_topic_partition_list_add(
		list, request->base.topic->physical, (int32_t)partition);
	rd_kafka_resp_err_t error;

	row->offset = MAX(time_ms, 0);
	error = rd_kafka_offsets_for_times(entered.handle, list, ADMIN_HANDLE_CALL_MS);
	if (!error)
		error = row->err;
	if (!error && row->offset >= 0)
		*ret = (uint64_t)row->offset;
	rd_kafka_topic_partition_list_destroy(list);
	return !admin_request_failed(request, adapter, error, NULL);
}

static void read_run(struct adapter *adapter, struct admin_request *request)
{
	struct reading *reading = request->work;
	struct log_fetch *fetch = &reading->fetch;
	uint64_t first;

	fetch->topic = topic_look(adapter, request);
	if (!fetch->topic)
		return;
	kafka_topic_bounds(fetch->topic, fetch->partition, &first, &fetch->until);
	if (reading->by_time)
		fetch->offset = fetch->until;
	if (reading->by_time &&
	    !time_resolve(adapter, request, fetch->partition, reading->time_ms, &fetch->offset))
		return;
	fetch->offset = MAX(fetch->offset, first);
	fetch->loop = kafka_task_admin_loop(adapter);
	fetch->task.fn = on_fetched;
	request->waits = fetch->offset < fetch->until && !fetcher_fetch(adapter, fetch);
	if (!request->waits) // else its event comes to this thread, later
		reading_finish(reading);
}

void topic_query_read(struct adapter *adapter, const struct topic *topic,
		      const struct message_query *query, adapter_answer_fn done, void *ctx)
{
	struct admin_request *request = admin_request_new(
		&(struct request){.topic = topic, .answer_done = done, .ctx = ctx},
		sizeof(struct reading));
	struct reading *reading;

	if (!request)
		return;
	reading = request->work;
	request->work_free = reading_free;
	reading->request = request;
	reading->by_time = query->by_time;
	reading->time_ms = query->time_ms;
	messages_fetch(query, &reading->fetch);
	admin_request_start(adapter, request, read_run);
}
