// What an operator asks of a topic: where its partitions begin and end, and some of its messages.
// It is read on a reader's thread, through the same functions that consumers use, so that damage is
// found and reported here as there.
//
// Not here: changing anything.

#include "adapters/store/topic_query.h"

#include "adapters/message_json.h"
#include "adapters/store/durable_log.h"
#include "adapters/store/error.h"
#include "adapters/store/range.h"

#include <errno.h>

#define READ_LIMIT 100
#define READ_BYTES (4u << 20)

struct look {
	struct loop_task task;
	struct adapter_topic *open;
	adapter_json_fn done;
	void *ctx;
	struct log_fetch fetch; // of a message query
	int64_t time_ms;
	bool by_time, bodies;
};

static void look_finish(struct look *look, int r, json_t *answer)
{
	look->done(look->ctx, store_error_code(r), answer, NULL);
	store_topic_close(look->open);
	buf_unref(look->fetch.buf);
	free(look);
}

static struct look *look_new(struct durable_log *log, const struct topic *topic,
			     adapter_json_fn done, void *ctx)
{
	int r = 0;
	struct adapter_topic *open = store_topic_open(log->stores[durable_log_class(topic)],
						      topic->object.id, topic->incarnation, &r);
	struct look *look = open ? calloc(1, sizeof *look) : NULL;

	if (!look) {
		if (open)
			store_topic_close(open);
		done(ctx, open ? CODE_OVERLOADED : store_error_code(r), NULL, NULL);
		return NULL;
	}
	look->open = open;
	look->done = done;
	look->ctx = ctx;
	return look;
}

static void run_describe(struct loop_task *task)
{
	struct look *look = CONTAINER_OF(task, struct look, task);
	struct store *store = look->open->store;
	json_t *partitions = json_array();
	MDB_txn *txn;
	int r = store_read_begin(store, &txn);

	for (uint32_t i = 0; !r && i < store_topic_partition_count(look->open); ++i) {
		const struct store_partition *partition = store_topic_partition(look->open, i);
		int64_t oldest = store_range_oldest_ms(store, txn, look->open->id, i);

		json_array_append_new(
			partitions,
			json_pack("{s:I,s:I,s:I,s:I,s:o}", "partition", (json_int_t)i, "first",
				  (json_int_t)__atomic_load_n(&partition->first, __ATOMIC_ACQUIRE),
				  "end",
				  (json_int_t)__atomic_load_n(&partition->end, __ATOMIC_ACQUIRE),
				  "bytes",
				  (json_int_t)__atomic_load_n(&partition->bytes, __ATOMIC_ACQUIRE),
				  "oldest_ms", oldest < 0 ? json_null() : json_integer(oldest)));
	}
	if (!r)
		mdb_txn_abort(txn);
	look_finish(look, r, json_pack("{s:o}", "partitions", partitions));
}

void store_topic_query_describe(struct durable_log *log, const struct topic *topic,
				adapter_json_fn done, void *ctx)
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
	json_t *messages, *next = json_null();
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
	messages = json_array();
	for (uint32_t i = 0; i < fetch->count; ++i)
		json_array_append_new(messages,
				      message_json(fetch->entries[i].record, fetch->partition,
						   fetch->entries[i].offset,
						   fetch->entries[i].stored_ms, look->bodies));
	if (fetch->count && fetch->next < fetch->until)
		next = json_integer((json_int_t)fetch->next);
	look_finish(look, 0, json_pack("{s:o,s:o}", "messages", messages, "next", next));
}

void store_topic_query_read(struct durable_log *log, const struct topic *topic, const json_t *query,
			    adapter_json_fn done, void *ctx)
{
	json_int_t partition = json_integer_value(json_object_get(query, "partition")),
		   limit = json_integer_value(json_object_get(query, "limit"));
	const json_t *time_ms = json_object_get(query, "time_ms");
	struct look *look;

	if (partition < 0 || partition >= (json_int_t)topic->partitions) {
		done(ctx, CODE_BAD_REQUEST, NULL, "partition: the topic has fewer");
		return;
	}
	look = look_new(log, topic, done, ctx);
	if (!look)
		return;
	look->by_time = time_ms != NULL;
	look->time_ms = json_integer_value(time_ms);
	look->bodies = json_is_true(json_object_get(query, "bodies"));
	look->fetch.topic = look->open;
	look->fetch.partition = (uint32_t)partition;
	look->fetch.offset = (uint64_t)MAX(json_integer_value(json_object_get(query, "offset")), 0);
	look->fetch.max_messages = (uint32_t)MIN(MAX(limit, 1), READ_LIMIT);
	look->fetch.max_bytes = READ_BYTES;
	look->task.fn = run_read;
	executor_post(log->readers, &look->task);
}
