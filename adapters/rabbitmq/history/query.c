// Answers a query for messages from the stream of a topic.
//
// A stream has one row of offsets for all partitions, so a query passes over the messages of the
// others, and the offsets of one partition have gaps. It ends when it has as many messages as are
// asked for, when nothing more comes, or after READ_NS: then it answers what it has, and where to
// go on.

#include "adapters/rabbitmq/history/query.h"

#include "adapters/rabbitmq/ask/names.h"
#include "adapters/rabbitmq/history/stream.h"
#include "adapters/request.h"
#include "core/base/clock.h"

#include <stdio.h>

#define QUIET_NS (250 * MS_NS)
#define READ_NS  (4 * S_NS)
#define BYTES    (64u << 20) // of the messages of an answer; it has one at least

struct query {
	struct adapter *adapter;
	struct request base;
	struct loop_task task; // to the link
	struct message_query wish;
	struct rabbitmq_name name;
	struct rabbitmq_stream stream;
	struct stored_message rows[MESSAGE_QUERY_MAX];
	struct buf *bufs[MESSAGE_QUERY_MAX];
	size_t count;
	uint64_t bytes;
	uint64_t next; // behind the last that was seen
	bool full;
};

static void on_message(struct rabbitmq_stream *stream,
		       const struct rabbitmq_stream_message *message)
{
	struct query *query = CONTAINER_OF(stream, struct query, stream);
	const struct rabbitmq_arriving *arriving = &message->arriving;

	query->next = message->offset + 1;
	if (arriving->is_copy || arriving->partition != query->wish.partition) {
		buf_unref(arriving->buf);
		return;
	}
	query->bufs[query->count] = arriving->buf;
	query->rows[query->count++] = (struct stored_message){.offset = message->offset,
							      .stored_ms = arriving->stored_ms,
							      .record = arriving->buf->data};
	query->bytes += arriving->buf->size;
	query->full = query->count == query->wish.limit || query->bytes >= BYTES;
	if (query->full)
		rabbitmq_stream_end(stream, CODE_OK);
}

static void query_refuse(struct query *query, enum code code, const char *text)
{
	char told[512];

	snprintf(told, sizeof told, "cluster %s, stream %s: %s", query->adapter->cluster,
		 query->name.text, text ? text : code_sentence(code));
	request_end(&query->base, code, NULL, told);
}

static void on_done(struct rabbitmq_stream *stream, enum code code, const char *text)
{
	struct query *query = CONTAINER_OF(stream, struct query, stream);
	bool cut = code == CODE_TIMEOUT && stream->reading;
	struct adapter_answer answer = {
		.kind = ANSWER_MESSAGES,
		.messages = {.partition = query->wish.partition,
			     .rows = query->rows,
			     .count = query->count,
			     .next = query->full || cut ? query->next : ANSWER_NONE}};

	if (cut && !query->next)
		answer.messages.next = query->wish.offset;
	if (code == CODE_OK || cut)
		request_end(&query->base, CODE_OK, &answer, NULL);
	else if (code == CODE_NOT_FOUND)
		query_refuse(query, code,
			     "it is not there: the topic was made before the option history was "
			     "set, and has a stream once it is changed");
	else
		query_refuse(query, code, text);
	for (size_t i = 0; i < query->count; ++i)
		buf_unref(query->bufs[i]);
	free(query);
}

static void on_task(struct loop_task *task)
{
	rabbitmq_stream_begin(&CONTAINER_OF(task, struct query, task)->stream);
}

static void query_begin(struct query *query, const struct topic *topic)
{
	struct adapter *adapter = query->adapter;

	query->name = rabbitmq_name_history(topic);
	query->stream = (struct rabbitmq_stream){.adapter = adapter,
						 .link = adapter->receive,
						 .name = query->name.text,
						 .partitions = topic->partitions,
						 .by_time = query->wish.by_time,
						 .time_ms = query->wish.time_ms,
						 .offset = query->wish.offset,
						 .quiet_ns = QUIET_NS,
						 .deadline_ns = clock_now_ns() + READ_NS,
						 .message = on_message,
						 .done = on_done};
	query->task.fn = on_task;
	loop_post(rabbitmq_link_loop(adapter->receive), &query->task);
}

void rabbitmq_query_read(struct adapter *adapter, const struct topic *topic,
			 const struct message_query *wish, adapter_answer_fn done, void *ctx)
{
	struct request base = {.topic = topic, .answer_done = done, .ctx = ctx};
	struct query *query;

	assert(wish->limit > 0 && wish->limit <= MESSAGE_QUERY_MAX);
	if (topic->imported) {
		request_answer(&base, CODE_UNSUPPORTED_BY_BACKEND,
			       "an imported exchange has no stream: what it routes is kept in its "
			       "queues alone");
		return;
	}
	query = calloc(1, sizeof *query);
	if (!query) {
		request_answer(&base, CODE_OVERLOADED, NULL);
		return;
	}
	query->adapter = adapter;
	query->wish = *wish;
	request_hold(&base, &query->base);
	query_begin(query, topic);
}
