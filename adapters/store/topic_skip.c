// Gives up what is damaged of a topic, on an operator's order: each range of offsets that cannot be
// read gets a chunk without records in its place. Readers pass over it from then on, like positions
// that hold nothing, and nothing before or behind it is changed.
//
// A row whose key is damaged leaves its page out of order, so that searches miss its neighbours,
// which are whole. Such a row is taken out first; what can be read then is not given up. Other
// damaged rows near it stay where they are: they belong to another range, or another topic.
//
// The row of the topic itself is rebuilt from the registry and its partitions, which all still
// exist (topic_rebuild.c). A preview does the same in a nested transaction and undoes it.
//
// Invariant: a place is given up only if it cannot be read in the same transaction. Not here:
// positions and waiting messages of groups, which a reset of the group repairs.

#include "adapters/store/topic_skip.h"

#include "adapters/request.h"
#include "adapters/store/chunk.h"
#include "adapters/store/damage.h"
#include "adapters/store/damage_table.h"
#include "adapters/store/durable_log.h"
#include "adapters/store/row.h"
#include "adapters/store/topic_rebuild.h"

#include <errno.h>

#define STRAY_ROWS 300u // looked at around a damaged place: more than a page holds

struct skip_job {
	struct committer_job job;
	struct durable_log *log;
	struct request request;
	struct adapter_topic *open;
	struct skipped_range *ranges; // found or given up
	size_t range_count, range_room;
	bool row_made;
};

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

// What lies there of the range. It is in order: strays are gone.
static int range_clear(struct store *store, MDB_txn *txn, struct store_partition *partition,
		       const struct range *range, uint64_t *ret_bytes)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, store->chunks, &cursor);

	if (r)
		return store_error(r);
	store_key(bytes, partition->topic->id, partition->number, range->first);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!r && is_within(&key, partition, range)) {
		*ret_bytes += value.mv_size;
		r = mdb_cursor_del(cursor, 0);
		if (!r)
			r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
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
		r = store_error(mdb_put(txn, store->chunks, &key, &value, 0));
		at += count;
	}
	return r;
}

// ---- rows out of order

// A row near a damaged place.
struct near_row {
	uint8_t key[STORE_KEY];
	bool sized, whole; // its key has the size of one; its checksum fits
};

// The first row that lies between two whole ones where its key does not belong; `count`: none. A
// whole row is where it was written.
static size_t stray_find(const struct near_row *rows, size_t count)
{
	const uint8_t *before = NULL;

	for (size_t i = 0; i < count; ++i) {
		const uint8_t *behind = NULL;

		if (rows[i].whole) {
			before = rows[i].key;
			continue;
		}
		for (size_t next = i + 1; next < count && !behind; ++next)
			behind = rows[next].whole ? rows[next].key : NULL;
		if (!rows[i].sized || (before && memcmp(rows[i].key, before, STORE_KEY) <= 0) ||
		    (behind && memcmp(rows[i].key, behind, STORE_KEY) >= 0))
			return i;
	}
	return count;
}

// Goes STRAY_ROWS back from where the offset should be.
static int rows_seek(MDB_cursor *cursor, const struct store_partition *partition, uint64_t offset,
		     MDB_val *key, MDB_val *value)
{
	uint8_t bytes[STORE_KEY];
	int r;

	store_key(bytes, partition->topic->id, partition->number, offset);
	*key = (MDB_val){sizeof bytes, bytes};
	r = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
	if (r == MDB_NOTFOUND)
		r = mdb_cursor_get(cursor, key, value, MDB_LAST);
	for (unsigned i = 0; !r && i < STRAY_ROWS; ++i)
		r = mdb_cursor_get(cursor, key, value, MDB_PREV);
	return r == MDB_NOTFOUND ? mdb_cursor_get(cursor, key, value, MDB_FIRST) : r;
}

static size_t rows_read(MDB_cursor *cursor, MDB_val *key, MDB_val *value, struct near_row *rows)
{
	size_t count = 0;
	int r = 0;

	for (; !r && count < 2 * STRAY_ROWS; ++count) {
		rows[count].sized = key->mv_size == STORE_KEY;
		rows[count].whole = rows[count].sized && chunk_head_is_whole(key, value);
		if (rows[count].sized)
			memcpy(rows[count].key, key->mv_data, STORE_KEY);
		r = mdb_cursor_get(cursor, key, value, MDB_NEXT);
	}
	return count;
}

// 1: there was a row out of order around the offset, and it is gone now; 0: there is none.
static int stray_drop(struct store *store, MDB_txn *txn, const struct store_partition *partition,
		      uint64_t offset, struct near_row *rows, uint64_t *ret_bytes)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	size_t count, stray;
	int r = mdb_cursor_open(txn, store->chunks, &cursor);

	if (r)
		return store_error(r);
	r = rows_seek(cursor, partition, offset, &key, &value);
	count = r ? 0 : rows_read(cursor, &key, &value, rows);
	stray = stray_find(rows, count);
	if (!r && stray < count) {
		r = rows_seek(cursor, partition, offset, &key, &value);
		for (size_t i = 0; !r && i < stray; ++i)
			r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
		if (!r) {
			*ret_bytes += value.mv_size;
			r = mdb_cursor_del(cursor, 0);
		}
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : r ? store_error(r) : stray < count;
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
		return store_error(r);
	if (!r && chunk.offset <= at && chunk_is_whole(&chunk)) {
		*ret_next = chunk.offset + chunk.count;
		return 0;
	}
	ret->first = !r ? MIN(chunk.offset, at) : at;
	ret->end = chunk_resume(cursor, topic, partition->number, ret->first, end);
	*ret_next = ret->end;
	return 1;
}

static int range_note(struct skip_job *job, uint32_t partition, const struct range *range)
{
	size_t room = MAX(2 * job->range_room, 16);
	struct skipped_range *ranges = job->ranges;

	if (job->range_count == job->range_room) {
		ranges = realloc(ranges, room * sizeof *ranges);
		if (!ranges)
			return -ENOMEM;
		job->ranges = ranges;
		job->range_room = room;
	}
	ranges[job->range_count++] = (struct skipped_range){
		.partition = partition, .first = range->first, .end = range->end};
	return 0;
}

static int range_skip(struct skip_job *job, struct store *store, MDB_txn *txn,
		      struct store_partition *partition, const struct range *range,
		      uint64_t *ret_bytes)
{
	int r = range_note(job, partition->number, range);

	if (r)
		return r;
	r = range_clear(store, txn, partition, range, ret_bytes);
	return r ? r : range_fill(store, txn, partition, range, partition->now.stored_ms);
}

// Whether the place can be read once rows out of order are gone; else as place_look().
static int place_mend(struct store *store, MDB_txn *txn, const struct store_partition *partition,
		      uint64_t at, uint64_t *ret_next, struct range *ret, uint64_t *ret_bytes)
{
	struct near_row *rows = NULL;
	int r, dropped;

	do {
		MDB_cursor *cursor;

		r = store_error(mdb_cursor_open(txn, store->chunks, &cursor));
		if (r)
			break;
		r = place_look(cursor, partition, at, partition->now.end, ret_next, ret);
		mdb_cursor_close(cursor);
		if (r == 1 && !rows)
			rows = calloc(2 * (size_t)STRAY_ROWS, sizeof *rows);
		dropped = r != 1 ? 0
			  : rows ? stray_drop(store, txn, partition, at, rows, ret_bytes)
				 : -ENOMEM;
		r = dropped < 0 ? dropped : r;
	} while (r == 1 && dropped == 1);
	free(rows);
	return r;
}

// The damage as it was reported may be older than the file: each place is looked at again, and only
// what cannot be read now is given up.
static int damage_skip(struct skip_job *job, struct committer *committer, MDB_txn *txn,
		       struct store_partition *partition, const struct damage *damage)
{
	struct store *store = committer_store(committer);
	uint64_t at = MAX(damage->first, partition->now.first),
		 end = MIN(damage->end, partition->now.end), bytes = 0;
	int r = 0;

	while (r >= 0 && at < end) {
		struct range range = {0};

		r = place_mend(store, txn, partition, at, &at, &range, &bytes);
		if (r == 1)
			r = range_skip(job, store, txn, partition, &range, &bytes);
	}
	if (!job->request.preview) {
		append_touch(committer_append(committer), partition);
		partition->next.bytes -= MIN(partition->next.bytes, bytes);
	}
	return r;
}

// ---- the job

static int ranges_skip(struct skip_job *job, struct committer *committer, MDB_txn *txn)
{
	struct store *store = committer_store(committer);
	struct damage damage;
	int r = 0;

	job->range_count = 0;
	for (size_t i = 0;
	     r >= 0 && damage_list_at(store->damages, job->request.topic->object.id, i, &damage);
	     ++i) {
		if (damage.partition >= job->open->partition_count)
			continue;
		if (damage.kind == DAMAGE_MESSAGES)
			r = damage_skip(job, committer, txn,
					&job->open->partitions[damage.partition], &damage);
		else if (damage.kind == DAMAGE_PARTITION && !job->request.preview)
			append_touch(committer_append(committer),
				     &job->open->partitions[damage.partition]);
	}
	return MIN(r, 0);
}

static int skip_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct skip_job *job = CONTAINER_OF(base, struct skip_job, job);
	struct store *store = committer_store(committer);
	MDB_txn *trial;
	int r;

	if (!job->request.preview) {
		r = ranges_skip(job, committer, txn);
		return r ? r
			 : damage_table_forget(store, txn, job->request.topic->object.id, 0,
					       DAMAGE_OF_TOPIC);
	}
	r = store_error(mdb_txn_begin(store->env, txn, 0, &trial));
	if (r)
		return r;
	r = ranges_skip(job, committer, trial);
	mdb_txn_abort(trial);
	return r;
}

static void skip_done(struct committer_job *base, int r)
{
	struct skip_job *job = CONTAINER_OF(base, struct skip_job, job);
	struct adapter_answer answer = {.kind = ANSWER_SKIP,
					.skip = {.rows = job->ranges,
						 .count = job->range_count,
						 .row_made = job->row_made}};

	request_end(&job->request, store_error_code(r), &answer, NULL);
	if (job->open)
		store_topic_close(job->open);
	free(job->ranges);
	free(job);
}

// ---- the row of the topic

static int row_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct skip_job *job = CONTAINER_OF(base, struct skip_job, job);
	int r = topic_rebuild(job->log, txn, job->request.topic, job->request.preview);

	job->row_made = r == 0;
	return r;
}

// Without its row a topic has no partitions that could be looked at: what else is damaged is found,
// and given up, when it can be opened again.
void store_topic_skip(struct durable_log *log, const struct topic *topic, bool preview,
		      adapter_answer_fn done, void *ctx)
{
	struct request request = {
		.topic = topic, .preview = preview, .answer_done = done, .ctx = ctx};
	int r = 0, class = durable_log_class(topic);
	struct skip_job *job = calloc(1, sizeof *job);

	if (!job) {
		request_answer(&request, CODE_OVERLOADED, NULL);
		return;
	}
	*job = (struct skip_job){.job = {.apply = skip_apply, .done = skip_done}, .log = log};
	request_hold(&request, &job->request);
	job->open = store_topic_open(log->stores[class], topic->object.id, topic->incarnation, &r);
	if (!job->open) {
		job->job.apply = row_apply;
		class = CLASS_D2; // whose store has the rows
	}
	committer_run(log->committers[class], &job->job);
}
