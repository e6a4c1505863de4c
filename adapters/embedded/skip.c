// Giving up what is damaged of a topic, as an operator said: each range of offsets that cannot be
// read gets a chunk without records in its place. It is passed over from then on, like positions
// that hold nothing, and nothing before or behind it is touched.
//
// What lay there is deleted, and so are rows near it whose keys are damaged: they leave their page
// out of order, so that searches miss their neighbours. Positions and waiting messages of groups
// are not put right here: a reset of the group does that.

#include "adapters/embedded/chunks.h"
#include "adapters/embedded/damage.h"
#include "adapters/embedded/embedded.h"
#include "adapters/embedded/row.h"

#include <errno.h>

#define STRAY_ROWS 300u // looked at before a damaged place: more than a page holds

struct skip_job {
	struct committer_job job;
	const struct topic *topic;
	struct adapter_topic *open;
	json_t *ranges; // found or given up
	bool preview;
	adapter_json_fn done;
	void *ctx;
};

static void skip_job_free(struct skip_job *job)
{
	if (job->open)
		store_topic_close(job->open);
	model_unref(job->topic);
	json_decref(job->ranges);
	free(job);
}

// ---- one range

struct range {
	uint64_t first, end;
};

static bool is_within(const MDB_val *key, const struct store_partition *partition,
		      const struct range *range)
{
	return key->mv_size == STORE_KEY && store_key_id(key->mv_data) == partition->topic->id &&
	       store_key_partition(key->mv_data) == partition->number &&
	       store_key_offset(key->mv_data) >= range->first &&
	       store_key_offset(key->mv_data) < range->end;
}

// Whole, and behind the range: nothing that belongs to it comes any more.
static bool is_behind(const MDB_val *key, const MDB_val *value,
		      const struct store_partition *partition, const struct range *range)
{
	uint8_t end[STORE_KEY];

	store_key(end, partition->topic->id, partition->number, range->end);
	return key->mv_size == STORE_KEY && chunk_head_is_whole(key, value) &&
	       memcmp(key->mv_data, end, STORE_KEY) >= 0;
}

static int range_clear(struct store *store, MDB_txn *txn, struct store_partition *partition,
		       const struct range *range)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, store->chunks, &cursor);

	if (r)
		return store_errno(r);
	store_key(bytes, partition->topic->id, partition->number, range->first);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (r == MDB_NOTFOUND)
		r = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
	for (unsigned i = 0; !r && i < STRAY_ROWS; ++i)
		r = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
	if (r == MDB_NOTFOUND)
		r = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	while (!r && !is_behind(&key, &value, partition, range)) {
		if (is_within(&key, partition, range) || !chunk_head_is_whole(&key, &value)) {
			partition->next.bytes -= MIN(partition->next.bytes, value.mv_size);
			r = mdb_cursor_del(cursor, 0);
		}
		if (!r)
			r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_errno(r);
}

// Chunks without records that fill the range.
static int range_fill(struct store *store, MDB_txn *txn, const struct store_partition *partition,
		      const struct range *range, int64_t stored_ms)
{
	int r = 0;

	for (uint64_t at = range->first; !r && at < range->end;) {
		uint64_t count = MIN(range->end - at, (uint64_t)UINT32_MAX);
		struct store_chunk chunk = {.count = (uint32_t)count, .stored_ms = stored_ms};
		uint8_t bytes[STORE_KEY];
		MDB_val key = {sizeof bytes, bytes}, value = {sizeof chunk, &chunk};

		store_key(bytes, partition->topic->id, partition->number, at);
		chunk_seal(&key, &chunk, 0);
		r = store_errno(mdb_put(txn, store->chunks, &key, &value, 0));
		at += count;
	}
	return r;
}

// ---- one partition

// Whether `at` can be read; *ret_next: where to look next. Else *ret: what cannot be read around
// it.
static int place_look(MDB_cursor *cursor, const struct store_partition *partition, uint64_t at,
		      uint64_t end, uint64_t *ret_next, struct range *ret)
{
	uint64_t topic = partition->topic->id;
	struct chunk_view chunk;
	int r = chunk_seek(cursor, topic, partition->number, at, &chunk);

	if (r && r != MDB_NOTFOUND && r != MDB_CORRUPTED)
		return store_errno(r);
	if (!r && chunk.offset <= at && chunk_is_whole(&chunk)) {
		*ret_next = chunk.offset + chunk.count;
		return 0;
	}
	ret->first = !r ? MIN(chunk.offset, at) : at;
	ret->end = chunk_resume(cursor, topic, partition->number, ret->first, end);
	*ret_next = ret->end;
	return 1;
}

static int range_skip(struct skip_job *job, struct committer *committer, MDB_txn *txn,
		      struct store_partition *partition, const struct range *range)
{
	struct store *store = committer_store(committer);
	int r;

	r = json_array_append_new(job->ranges, json_pack("{s:I,s:I,s:I}", "partition",
							 (json_int_t)partition->number, "first",
							 (json_int_t)range->first, "end",
							 (json_int_t)range->end));
	if (r || job->preview)
		return r ? -ENOMEM : 0;
	append_touch(committer_append(committer), partition);
	r = range_clear(store, txn, partition, range);
	return r ? r : range_fill(store, txn, partition, range, partition->now.stored_ms);
}

static int damage_skip(struct skip_job *job, struct committer *committer, MDB_txn *txn,
		       struct store_partition *partition, const struct damage *damage)
{
	uint64_t at = MAX(damage->first, partition->now.first),
		 end = MIN(damage->end, partition->now.end);
	int r = 0;

	while (r >= 0 && at < end) {
		struct range range = {0};
		MDB_cursor *cursor;

		r = store_errno(mdb_cursor_open(txn, committer_store(committer)->chunks, &cursor));
		if (r)
			return r;
		r = place_look(cursor, partition, at, partition->now.end, &at, &range);
		mdb_cursor_close(cursor);
		if (r == 1)
			r = range_skip(job, committer, txn, partition, &range);
	}
	return r;
}

// ---- the job

static int skip_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct skip_job *job = CONTAINER_OF(base, struct skip_job, job);
	struct store *store = committer_store(committer);
	struct damage damage;
	int r = 0;

	json_array_clear(job->ranges);
	for (size_t i = 0; r >= 0 && damage_at(store, job->topic->object.id, i, &damage); ++i) {
		if (damage.partition >= job->open->partition_count)
			continue;
		if (damage.kind == DAMAGE_MESSAGES)
			r = damage_skip(job, committer, txn,
					&job->open->partitions[damage.partition], &damage);
		else if (damage.kind == DAMAGE_PARTITION && !job->preview)
			append_touch(committer_append(committer),
				     &job->open->partitions[damage.partition]);
	}
	if (r < 0 || job->preview)
		return MIN(r, 0);
	return damages_forget(store, txn, job->topic->object.id, 0, DAMAGE_OF_TOPIC);
}

// The ranges are given away: the asker reads them on another thread.
static void skip_done(struct committer_job *base, int r)
{
	struct skip_job *job = CONTAINER_OF(base, struct skip_job, job);
	json_t *answer = NULL;

	if (r == 0) {
		answer = json_pack("{s:o}", "partitions", job->ranges);
		job->ranges = NULL;
	}
	job->done(job->ctx, embedded_code(r), answer, NULL);
	skip_job_free(job);
}

void embedded_topic_skip(struct adapter *adapter, const struct topic *topic, bool preview,
			 adapter_json_fn done, void *ctx)
{
	int r = 0, class = class_of(topic);
	struct skip_job *job = calloc(1, sizeof *job);

	if (!job) {
		done(ctx, CODE_OVERLOADED, NULL, NULL);
		return;
	}
	*job = (struct skip_job){.job = {.apply = skip_apply, .done = skip_done},
				 .topic = model_ref(topic),
				 .ranges = json_array(),
				 .preview = preview,
				 .done = done,
				 .ctx = ctx};
	job->open =
		store_topic_open(adapter->stores[class], topic->object.id, topic->incarnation, &r);
	if (job->open) {
		committer_run(adapter->committers[class], &job->job);
		return;
	}
	done(ctx, embedded_code(r), NULL, NULL);
	skip_job_free(job);
}
