// Topics: making, growing, deleting, describing, purging, and reading for people.

#include "adapters/embedded/embedded.h"
#include "adapters/message_json.h"

#include <errno.h>

#define TRIM_CHUNKS 1000u // deleted in one transaction
#define READ_LIMIT  100
#define READ_BYTES  (4u << 20)

// One administrative write; made for it, freed when it is done.
struct topic_job {
	struct committer_job job;
	struct adapter *adapter;
	const struct topic *topic;
	struct adapter_topic *open; // held while purging or deleting
	uint64_t messages, bytes;
	adapter_done_fn done;
	adapter_json_fn json_done;
	void *ctx;
};

static struct topic_job *job_new(struct adapter *adapter, const struct topic *topic, void *ctx)
{
	struct topic_job *job = calloc(1, sizeof *job);

	if (job) {
		job->adapter = adapter;
		job->topic = model_ref(topic);
		job->ctx = ctx;
	}
	return job;
}

static void job_free(struct topic_job *job)
{
	if (job->open)
		store_topic_close(job->open);
	model_unref(job->topic);
	free(job);
}

// ---- making

static int create_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct topic_job *job = CONTAINER_OF(base, struct topic_job, job);
	const struct topic *topic = job->topic;
	struct store *store = committer_store(committer);
	struct store_topic_row row =
				       {
					       .incarnation = topic->incarnation,
					       .retention_ms = topic->retention_ms,
					       .retention_bytes = topic->retention_bytes,
					       .partitions = topic->partitions,
				       },
			       old;
	uint8_t bytes[STORE_KEY_SIZE];
	MDB_val key = {8, bytes}, value;
	int r;

	store_key(bytes, topic->object.id, 0, 0);
	r = mdb_get(txn, store->topics, &key, &value);
	if (r == 0 && value.mv_size == sizeof old) {
		memcpy(&old, value.mv_data, sizeof old);
		if (old.incarnation != row.incarnation || old.partitions > row.partitions)
			return -EEXIST;
		if (memcmp(&old, &row, sizeof row) == 0)
			return 0;
	} else if (r && r != MDB_NOTFOUND) {
		return store_errno(r);
	}
	value = (MDB_val){sizeof row, &row};
	return store_errno(mdb_put(txn, store->topics, &key, &value, 0));
}

static void create_done(struct committer_job *base, int r)
{
	struct topic_job *job = CONTAINER_OF(base, struct topic_job, job);
	struct adapter_topic *open =
		r ? NULL
		  : store_topic_find(job->adapter->stores[class_of(job->topic)],
				     job->topic->object.id);

	if (open) {
		r = store_topic_grow(open, job->topic->partitions);
		store_topic_close(open);
	}
	job->done(job->ctx, embedded_code(r),
		  r == -EEXIST ? "it exists with more partitions or as another incarnation" : NULL);
	job_free(job);
}

void embedded_topic_create(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			   void *ctx)
{
	struct topic_job *job = topic->partitions ? job_new(adapter, topic, ctx) : NULL;

	if (!job) {
		done(ctx, topic->partitions ? CODE_OVERLOADED : CODE_BAD_REQUEST,
		     topic->partitions ? NULL : "a topic has at least one partition");
		return;
	}
	job->done = done;
	job->job.apply = create_apply;
	job->job.done = create_done;
	committer_run(adapter->committers[class_of(topic)], &job->job);
}

// ---- deleting and purging, in bounded steps

static int trim_all(struct topic_job *job, struct committer *committer, MDB_txn *txn)
{
	unsigned left = TRIM_CHUNKS;

	for (uint32_t i = 0; i < job->open->partition_count; ++i) {
		struct store_partition *partition = &job->open->partitions[i];
		uint64_t messages = partition->touched ? partition->next_first : partition->first;
		uint64_t bytes = partition->touched ? partition->next_bytes : partition->bytes;
		int r = committer_trim(committer, txn, partition, UINT64_MAX, INT64_MAX, UINT64_MAX,
				       left);

		if (r < 0)
			return r;
		if (r > 0) {
			job->messages += partition->next_first - messages;
			job->bytes += bytes - partition->next_bytes;
		}
		left -= (unsigned)r;
		if (left == 0)
			return COMMITTER_AGAIN;
	}
	return 0;
}

static int rows_delete(struct topic_job *job, struct store *store, MDB_txn *txn)
{
	uint8_t bytes[STORE_KEY_SIZE];
	MDB_val key = {12, bytes};
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < job->open->partition_count; ++i) {
		store_key(bytes, job->topic->object.id, i, 0);
		r = mdb_del(txn, store->partitions, &key, NULL);
		r = r == MDB_NOTFOUND ? 0 : r;
	}
	key.mv_size = 8;
	if (!r)
		r = mdb_del(txn, store->topics, &key, NULL);
	return r == MDB_NOTFOUND ? 0 : store_errno(r);
}

static int delete_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct topic_job *job = CONTAINER_OF(base, struct topic_job, job);
	int r = trim_all(job, committer, txn);

	return r ? r : rows_delete(job, committer_store(committer), txn);
}

static void delete_done(struct committer_job *base, int r)
{
	struct topic_job *job = CONTAINER_OF(base, struct topic_job, job);

	job->done(job->ctx, embedded_code(r), NULL);
	job_free(job);
}

void embedded_topic_delete(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			   void *ctx)
{
	int r = 0;
	struct adapter_topic *open = store_topic_open(adapter->stores[class_of(topic)],
						      topic->object.id, topic->incarnation, &r);
	struct topic_job *job = open ? job_new(adapter, topic, ctx) : NULL;

	if (!job) {
		if (open)
			store_topic_close(open);
		// Deleting what is gone is done.
		done(ctx, r == -ENOENT ? CODE_OK : open ? CODE_OVERLOADED : embedded_code(r), NULL);
		return;
	}
	// From now on sends are answered NOT_FOUND; the committer is the only one that may still
	// see it.
	__atomic_store_n(&open->gone, true, __ATOMIC_RELEASE);
	job->open = open;
	job->done = done;
	job->job.apply = delete_apply;
	job->job.done = delete_done;
	committer_run(adapter->committers[class_of(topic)], &job->job);
}

static int purge_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	return trim_all(CONTAINER_OF(base, struct topic_job, job), committer, txn);
}

static void purge_done(struct committer_job *base, int r)
{
	struct topic_job *job = CONTAINER_OF(base, struct topic_job, job);

	job->json_done(job->ctx, embedded_code(r),
		       r ? NULL
			 : json_pack("{s:I,s:I}", "messages", (json_int_t)job->messages, "bytes",
				     (json_int_t)job->bytes),
		       NULL);
	job_free(job);
}

void embedded_topic_purge(struct adapter *adapter, const struct topic *topic, bool preview,
			  adapter_json_fn done, void *ctx)
{
	int r = 0;
	struct adapter_topic *open = store_topic_open(adapter->stores[class_of(topic)],
						      topic->object.id, topic->incarnation, &r);
	struct topic_job *job = open ? job_new(adapter, topic, ctx) : NULL;

	if (!job) {
		if (open)
			store_topic_close(open);
		done(ctx, open ? CODE_OVERLOADED : embedded_code(r), NULL, NULL);
		return;
	}
	job->open = open;
	job->json_done = done;
	if (preview) {
		for (uint32_t i = 0; i < open->partition_count; ++i) {
			job->messages += open->partitions[i].end - open->partitions[i].first;
			job->bytes += open->partitions[i].bytes;
		}
		purge_done(&job->job, 0);
		return;
	}
	job->job.apply = purge_apply;
	job->job.done = purge_done;
	committer_run(adapter->committers[class_of(topic)], &job->job);
}

// ---- looking

struct look {
	struct log_job job;
	struct adapter_topic *open;
	adapter_json_fn done;
	void *ctx;
	struct log_fetch fetch; // of a message query
	int64_t time_ms;
	bool by_time, bodies;
};

static void look_finish(struct look *look, int r, json_t *answer)
{
	look->done(look->ctx, embedded_code(r), answer, NULL);
	store_topic_close(look->open);
	buf_unref(look->fetch.buf);
	free(look);
}

static struct look *look_new(struct adapter *adapter, const struct topic *topic,
			     adapter_json_fn done, void *ctx)
{
	int r = 0;
	struct adapter_topic *open = store_topic_open(adapter->stores[class_of(topic)],
						      topic->object.id, topic->incarnation, &r);
	struct look *look = open ? calloc(1, sizeof *look) : NULL;

	if (!look) {
		if (open)
			store_topic_close(open);
		done(ctx, open ? CODE_OVERLOADED : embedded_code(r), NULL, NULL);
		return NULL;
	}
	look->open = open;
	look->done = done;
	look->ctx = ctx;
	return look;
}

// Store time of the oldest message; -1: there is none.
static int64_t oldest_ms(struct store *store, MDB_txn *txn, const struct store_partition *partition)
{
	uint8_t bytes[STORE_KEY_SIZE];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	int64_t ms = -1;

	if (mdb_cursor_open(txn, store->chunks, &cursor))
		return -1;
	store_key(bytes, partition->topic->id, partition->number, 0);
	if (mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE) == 0 &&
	    store_key_id(key.mv_data) == partition->topic->id &&
	    store_key_partition(key.mv_data) == partition->number)
		ms = (int64_t)le64_get((const uint8_t *)value.mv_data + 8);
	mdb_cursor_close(cursor);
	return ms;
}

static void describe_run(struct log_job *job)
{
	struct look *look = CONTAINER_OF(job, struct look, job);
	struct store *store = look->open->store;
	json_t *partitions = json_array();
	MDB_txn *txn;
	int r = store_read_begin(store, &txn);

	for (uint32_t i = 0; !r && i < look->open->partition_count; ++i) {
		const struct store_partition *partition = &look->open->partitions[i];
		int64_t oldest = oldest_ms(store, txn, partition);

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

void embedded_topic_describe(struct adapter *adapter, const struct topic *topic,
			     adapter_json_fn done, void *ctx)
{
	struct look *look = look_new(adapter, topic, done, ctx);

	if (!look)
		return;
	look->job.run = describe_run;
	reader_run(adapter->reader, &look->job);
}

static int time_resolve(struct look *look)
{
	const struct store_partition *partition = &look->open->partitions[look->fetch.partition];
	MDB_txn *txn;
	int r = store_read_begin(look->open->store, &txn);

	if (r < 0)
		return r;
	r = reader_find_time(look->open->store, txn, look->open->id, partition->number,
			     __atomic_load_n(&partition->first, __ATOMIC_ACQUIRE),
			     __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE), look->time_ms,
			     &look->fetch.offset);
	mdb_txn_abort(txn);
	return r;
}

static void read_run(struct log_job *job)
{
	struct look *look = CONTAINER_OF(job, struct look, job);
	struct log_fetch *fetch = &look->fetch;
	json_t *messages, *next = json_null();
	int r = look->by_time ? time_resolve(look) : 0;

	if (!r) {
		reader_fetch(fetch);
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
	if (fetch->count && fetch->entries[fetch->count - 1].offset + 1 <
				    __atomic_load_n(&look->open->partitions[fetch->partition].end,
						    __ATOMIC_ACQUIRE))
		next = json_integer((json_int_t)fetch->entries[fetch->count - 1].offset + 1);
	look_finish(look, 0, json_pack("{s:o,s:o}", "messages", messages, "next", next));
}

void embedded_read(struct adapter *adapter, const struct topic *topic, const json_t *query,
		   adapter_json_fn done, void *ctx)
{
	json_int_t partition = json_integer_value(json_object_get(query, "partition")),
		   limit = json_integer_value(json_object_get(query, "limit"));
	const json_t *time_ms = json_object_get(query, "time_ms");
	struct look *look;

	if (partition < 0 || partition >= topic->partitions) {
		done(ctx, CODE_BAD_REQUEST, NULL, "partition: the topic does not have so many");
		return;
	}
	look = look_new(adapter, topic, done, ctx);
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
	look->job.run = read_run;
	reader_run(adapter->reader, &look->job);
}
