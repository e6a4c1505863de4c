// What an operator asks of a topic: where its partitions begin and end, and some of its messages.
//
// It is read on a reader's thread, through the same functions that consumers use, so that damage is
// found and reported in the same way. It changes nothing.

#include "adapters/store/topic_query.h"

#include "adapters/log/messages.h"
#include "adapters/request.h"
#include "adapters/store/durable_log.h"
#include "adapters/store/error.h"
#include "adapters/store/range.h"

#include <errno.h>

struct look {
	struct loop_task task;
	struct adapter_topic *open;
	struct request request;
	struct log_fetch fetch; // of a message query
	int64_t time_ms;
	bool by_time;
};

static void look_finish(struct look *look, int r, const struct adapter_answer *answer)
{
	request_end(&look->request, store_error_code(r), answer, NULL);
	store_topic_close(look->open);
	buf_unref(look->fetch.buf);
	free(look);
}

static struct look *look_new(struct durable_log *log, const struct topic *topic,
			     adapter_answer_fn done, void *ctx)
{
	struct request request = {.topic = topic, .answer_done = done, .ctx = ctx};
	int r = 0;
	struct adapter_topic *open = store_topic_open(log->stores[durable_log_class(topic)],
						      topic->object.id, topic->incarnation, &r);
	struct look *look = open ? calloc(1, sizeof *look) : NULL;

	if (!look) {
		if (open)
			store_topic_close(open);
		request_answer(&request, open ? CODE_OVERLOADED : store_error_code(r), NULL);
		return NULL;
	}
	look->open = open;
	request_hold(&request, &look->request);
	return look;
}

static struct described_partition partition_describe(struct look *look, MDB_txn *txn,
						     uint32_t number)
{
	const struct store_partition *partition = store_topic_partition(look->open, number);
	int64_t oldest_ms = store_range_oldest_ms(look->open->store, txn, look->open->id, number);

	return (struct described_partition){
		.partition = number,
		.first = __atomic_load_n(&partition->first, __ATOMIC_ACQUIRE),
		.end = __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE),
		.messages = ANSWER_NONE,
		.bytes = __atomic_load_n(&partition->bytes, __ATOMIC_ACQUIRE),
		.oldest_ms = oldest_ms < 0 ? ANSWER_NONE : (uint64_t)oldest_ms};
}

static void run_describe(struct loop_task *task)
{
	struct look *look = CONTAINER_OF(task, struct look, task);
	uint32_t count = store_topic_partition_count(look->open);
	struct described_partition *rows = calloc(count, sizeof *rows);
	struct adapter_answer answer = {.kind = ANSWER_DESCRIBE, .describe = {rows, count}};
	MDB_txn *txn;
	int r = rows ? store_read_begin(look->open->store, &txn) : -ENOMEM;

	for (uint32_t i = 0; !r && i < count; ++i)
		rows[i] = partition_describe(look, txn, i);
	if (!r)
		mdb_txn_abort(txn);
	look_finish(look, r, &answer);
	free(rows);
}

void store_topic_query_describe(struct durable_log *log, const struct topic *topic,
				adapter_answer_fn done, void *ctx)
{
	struct look *look = look_new(log, topic, done, ctx);

	if (!look)
		return;
	look->task.fn = run_describe;
	executor_post(log->readers, &look->task);
}

static int time_resolve(struct look *look)
{
	const struct store_partition *partition =
		store_topic_partition(look->open, look->fetch.partition);
	MDB_txn *txn;
	int r = store_read_begin(look->open->store, &txn);

	if (r < 0)
		return r;
	r = store_range_find_time(look->open->store, txn, look->open->id, partition->number,
				  __atomic_load_n(&partition->first, __ATOMIC_ACQUIRE),
				  __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE), look->time_ms,
				  &look->fetch.offset);
	mdb_txn_abort(txn);
	return r;
}

static void run_read(struct loop_task *task)
{
	struct look *look = CONTAINER_OF(task, struct look, task);
	struct log_fetch *fetch = &look->fetch;
	struct stored_message rows[MESSAGE_QUERY_MAX];
	struct adapter_answer answer;
	const struct store_partition *partition =
		store_topic_partition(look->open, fetch->partition);
	int r = partition ? 0 : -ENOENT;

	if (!r && look->by_time)
		r = time_resolve(look);
	if (!r) {
		fetch->until = __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE);
		store_range_fetch(fetch);
		r = fetch->code == CODE_OK ? 0 : fetch->code == CODE_NOT_FOUND ? -ENOENT : -EIO;
	}
	if (r) {
		look_finish(look, r, NULL);
		return;
	}
	answer = messages_answer(fetch, rows);
	look_finish(look, 0, &answer);
}

void store_topic_query_read(struct durable_log *log, const struct topic *topic,
			    const struct message_query *query, adapter_answer_fn done, void *ctx)
{
	struct look *look = look_new(log, topic, done, ctx);

	if (!look)
		return;
	look->by_time = query->by_time;
	look->time_ms = query->time_ms;
	messages_fetch(query, &look->fetch);
	look->fetch.topic = look->open;
	look->task.fn = run_read;
	executor_post(log->readers, &look->task);
}
