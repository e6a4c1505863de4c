// Appends records inside the committer's transaction, and deletes chunks from the front of a
// partition.
//
// Records of one transaction that go to one partition become chunks of up to CHUNK_BYTES. Small
// runs are collected in an open chunk first. A long run that arrived in one piece is copied
// straight from its frame into the page.
//
// What a transaction changes is in `next` of each partition that it touched. Readers see `now` and
// the atomic copies. append_end() makes them equal after the commit, or forgets `next` after a
// failure.
//
// Invariants: offsets of a partition follow each other without a gap, and so do its chunks; the
// store time never falls along a partition. Retention never deletes a chunk that is damaged, or one
// behind a gap, since the loss would then look like a deletion.
//
// Not here: the transaction and its errors (committer.c), and whether there is room
// (committer_is_full()).

#include "adapters/store/append.h"

#include "adapters/log/watch.h"
#include "adapters/store/chunk.h"
#include "adapters/store/damage.h"
#include "adapters/store/row.h"
#include "adapters/store/tail.h"

#include <errno.h>

#define CHUNK_BYTES  (STORE_CHUNK_MAX - 64) // a chunk with its head fits in whole pages
#define DIRECT_BYTES 2048u // a run that long is not copied together with others first

void append_init(struct append *append, struct store *store)
{
	*append = (struct append){.store = store};
	list_init(&append->fresh);
}

void append_deinit(struct append *append)
{
	free(append->spare);
}

struct store_partition *append_touch(struct append *append, struct store_partition *partition)
{
	if (!partition->touched) {
		partition->touched = true;
		partition->touched_next = append->touched;
		append->touched = partition;
		partition->next = partition->now;
		partition->chunks_end = partition->now.end;
	}
	return partition;
}

// ---- chunks

static void tail_show(struct append *append, struct store_partition *partition, uint64_t offset,
		      uint32_t count, const uint8_t *records, size_t size)
{
	struct log_chunk *chunk;

	if (!__atomic_load_n(&partition->topic->watched, __ATOMIC_RELAXED))
		return;
	chunk = tail_chunk_new(offset, count, partition->next.stored_ms, records, size);
	if (!chunk)
		return;
	chunk->owner = partition;
	list_push_back(&append->fresh, &chunk->in_rings);
}

static int chunk_put(struct append *append, MDB_txn *txn, struct store_partition *partition,
		     uint64_t offset, uint32_t count, const uint8_t *records, size_t size)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value = {sizeof(struct store_chunk) + size, NULL};
	struct store_chunk *chunk;
	int r;

	assert(offset == partition->chunks_end && count > 0 && size > 0);
	partition->chunks_end = offset + count;
	store_key(bytes, partition->topic->id, partition->number, offset);
	r = mdb_put(txn, append->store->chunks, &key, &value, MDB_RESERVE);
	if (r)
		return store_error(r);
	partition->next.stored_ms = MAX(partition->next.stored_ms, append->now_ms);
	chunk = value.mv_data;
	le32_put(&chunk->count, count);
	le64_put(&chunk->stored_ms, (uint64_t)partition->next.stored_ms);
	memcpy(chunk->records, records, size);
	chunk_seal(&key, chunk, size);
	partition->next.bytes += value.mv_size;
	tail_show(append, partition, offset, count, records, size);
	return 0;
}

static int open_chunk_flush(struct append *append, MDB_txn *txn, struct store_partition *partition)
{
	int r;

	if (!partition->open_size)
		return 0;
	r = chunk_put(append, txn, partition, partition->open_offset,
		      (uint32_t)(partition->next.end - partition->open_offset),
		      partition->open_chunk->records, partition->open_size);
	partition->open_size = 0;
	return r;
}

static void open_chunk_drop(struct append *append, struct store_partition *partition)
{
	if (partition->open_chunk && !append->spare)
		append->spare = partition->open_chunk;
	else
		free(partition->open_chunk);
	partition->open_chunk = NULL;
	partition->open_size = 0;
}

static int open_chunk_add(struct append *append, MDB_txn *txn, struct store_partition *partition,
			  const uint8_t *records, size_t size, uint32_t count)
{
	int r = 0;

	if (partition->open_size + size > CHUNK_BYTES)
		r = open_chunk_flush(append, txn, partition);
	if (r < 0)
		return r;
	if (!partition->open_chunk) {
		partition->open_chunk =
			append->spare ? append->spare
				      : malloc(sizeof *partition->open_chunk + CHUNK_BYTES);
		append->spare = NULL;
		if (!partition->open_chunk)
			return -ENOMEM;
	}
	if (!partition->open_size)
		partition->open_offset = partition->next.end;
	memcpy(partition->open_chunk->records + partition->open_size, records, size);
	partition->open_size += size;
	partition->next.end += count;
	return 0;
}

// Records [at, end) that lie one behind the other in memory and go to one partition, at most a
// chunk of them (one at least).
static uint32_t run_length(const struct submit *submit, uint32_t at, size_t *ret_size)
{
	const struct submit_record *first = &submit->records[at];
	size_t size = first->size;
	uint32_t end = at + 1;

	for (; end < submit->count; ++end) {
		const struct submit_record *record = &submit->records[end];

		if (record->partition != first->partition || record->data != first->data + size ||
		    size + record->size > CHUNK_BYTES)
			break;
		size += record->size;
	}
	*ret_size = size;
	return end - at;
}

// Results are added as runs while the records are placed; they count only if the transaction
// commits. The submit is not answered here.
int append_submit(struct append *append, MDB_txn *txn, struct submit *submit)
{
	struct submit_run run = {.outcome = OUTCOME_OK,
				 .code = CODE_OK,
				 .durability = (uint8_t)append->store->durability};

	uint32_t at = 0;

	submit->run_count = 0;
	for (; at < submit->count; at += run.count) {
		const struct submit_record *record = &submit->records[at];
		struct store_partition *partition = append_touch(
			append, store_topic_partition(submit->topic, record->partition));
		size_t size;
		int r;

		run.count = run_length(submit, at, &size);
		run.partition = partition->number;
		run.offset = partition->next.end;
		if (size >= DIRECT_BYTES) {
			r = open_chunk_flush(append, txn, partition);
			if (!r)
				r = chunk_put(append, txn, partition, partition->next.end,
					      run.count, record->data, size);
			partition->next.end += run.count;
		} else {
			r = open_chunk_add(append, txn, partition, record->data, size, run.count);
		}
		if (r < 0)
			return r;
		submit_add_run(submit, &run);
	}
	assert(at == submit->count);
	return 0;
}

int append_finish(struct append *append, MDB_txn *txn)
{
	for (struct store_partition *partition = append->touched; partition;
	     partition = partition->touched_next) {
		uint8_t bytes[STORE_KEY];
		MDB_val key = {STORE_PARTITION_KEY, bytes};
		int r = open_chunk_flush(append, txn, partition);

		if (r < 0)
			return r;
		assert(partition->next.first <= partition->next.end);
		assert(partition->chunks_end == partition->next.end);
		store_key(bytes, partition->topic->id, partition->number, 0);
		r = row_put(txn, append->store->partitions, &key, &partition->next,
			    sizeof partition->next);
		if (r)
			return r;
	}
	return 0;
}

// ---- after the transaction

static void fresh_end(struct append *append, bool committed)
{
	while (!list_empty(&append->fresh)) {
		struct log_chunk *chunk =
			LIST_ENTRY(list_pop_front(&append->fresh), struct log_chunk, in_rings);
		struct store_partition *partition = chunk->owner;

		if (committed)
			tail_add(append->store->tails, &partition->tail, chunk);
		else
			log_ring_chunk_free(chunk);
	}
}

// A reader that sees the new `end` sees the new `first` as well, since that is stored before. The
// copies in memory are added before the watchers are told, so a source that wakes finds them.
void append_end(struct append *append, bool committed)
{
	struct store_partition *next;

	fresh_end(append, committed);
	for (struct store_partition *partition = append->touched; partition; partition = next) {
		bool appended = partition->next.end != partition->now.end;

		next = partition->touched_next;
		partition->touched = false;
		open_chunk_drop(append, partition);
		if (!committed)
			continue;
		partition->now = partition->next;
		__atomic_store_n(&partition->first, partition->now.first, __ATOMIC_RELEASE);
		__atomic_store_n(&partition->bytes, partition->now.bytes, __ATOMIC_RELEASE);
		__atomic_store_n(&partition->end, partition->now.end, __ATOMIC_RELEASE);
		if (appended)
			log_watches_post(&partition->topic->watch_lock, &partition->topic->watches);
	}
	append->touched = NULL;
}

// ---- deleting from the front

static const struct store_partition_row *row_of(const struct store_partition *partition)
{
	return partition->touched ? &partition->next : &partition->now;
}

static bool may_go(const struct store_partition *partition, const struct append_trim *trim,
		   uint64_t end, int64_t stored_ms)
{
	return end <= trim->until &&
	       (row_of(partition)->bytes > trim->keep_bytes || stored_ms < trim->before_ms);
}

// The chunk is whole, and nothing is missing before it. What is damaged is kept: else the loss
// would be taken for deletion.
static bool is_next(const struct store_partition *partition, const MDB_val *key,
		    const MDB_val *value)
{
	return chunk_head_is_whole(key, value) &&
	       store_key_offset(key->mv_data) == row_of(partition)->first;
}

static void report_damage(const struct append *append, const struct store_partition *partition)
{
	const struct store_partition_row *row = row_of(partition);

	damage_report(append->store, &(struct damage){.kind = DAMAGE_MESSAGES,
						      .topic = partition->topic->id,
						      .partition = partition->number,
						      .first = row->first,
						      .end = MIN(row->first + 1, row->end)});
}

// 1: the cursor is on a chunk that goes; 0: on one that stays.
static int trim_look(const struct append *append, const struct store_partition *partition,
		     const struct append_trim *trim, const MDB_val *key, const MDB_val *value)
{
	const struct store_chunk *chunk = value->mv_data;

	if (trim->damaged_too)
		return store_key_offset(key->mv_data) < trim->until;
	if (!is_next(partition, key, value)) {
		report_damage(append, partition);
		return 0;
	}
	return may_go(partition, trim, store_key_offset(key->mv_data) + le32_get(&chunk->count),
		      (int64_t)le64_get(&chunk->stored_ms));
}

static void trim_count(struct store_partition *partition, const struct append_trim *trim,
		       const MDB_val *key, const MDB_val *value)
{
	const struct store_chunk *chunk = value->mv_data;
	uint64_t size = value->mv_size;

	if (!trim->damaged_too)
		partition->next.first = store_key_offset(key->mv_data) + le32_get(&chunk->count);
	partition->next.bytes -= MIN(partition->next.bytes, size);
}

// Everything before is gone, whatever of it was there.
static void first_set(struct append *append, struct store_partition *partition, uint64_t first)
{
	if (row_of(partition)->first < first)
		append_touch(append, partition)->next.first = first;
}

// Deletes up to `max` chunks and returns how many; as many as `max` means that there may be more.
// The bound keeps transactions short, so that submits do not wait.
int append_trim(struct append *append, MDB_txn *txn, struct store_partition *partition,
		const struct append_trim *trim, unsigned max)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	unsigned gone = 0;
	int r = mdb_cursor_open(txn, append->store->chunks, &cursor);

	if (r)
		return store_error(r);
	store_key(bytes, partition->topic->id, partition->number, 0);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!r && gone < max && key.mv_size == STORE_KEY &&
	       memcmp(key.mv_data, bytes, STORE_PARTITION_KEY) == 0 &&
	       trim_look(append, partition, trim, &key, &value)) {
		append_touch(append, partition);
		trim_count(partition, trim, &key, &value);
		r = mdb_cursor_del(cursor, 0);
		if (r)
			break;
		++gone;
		// After a deletion: the one that took its place.
		r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (r && r != MDB_NOTFOUND)
		return store_error(r);
	if (trim->damaged_too && gone < max)
		first_set(append, partition, MIN(trim->until, row_of(partition)->end));
	return (int)gone;
}
