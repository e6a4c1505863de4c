// Reads a range of a partition from the disk.
//
// A range is read in two steps inside one short transaction: find the runs of records in the mapped
// pages and add up their sizes, then copy them into one buffer. Each chunk on the way is checked:
// its checksums, and that it begins where the one before ended.
//
// Invariants: what is missing between the first offset of the partition and its end is damage, not
// a deletion, and is never passed over. No transaction outlives the call that began it, so that old
// pages can be used again.
//
// Not here: what is still in memory (tail.c), the threads that call this (durable_log.c), and when
// to read (adapters/log).

#include "adapters/store/range.h"

#include "adapters/store/chunk.h"
#include "adapters/store/damage.h"
#include "adapters/store/error.h"
#include "adapters/store/partition_row.h"
#include "adapters/store/row.h"
#include "adapters/store/topic.h"
#include "core/wire/record.h"

#include <errno.h>

// Size of the record at the start of `left` bytes; 0: it is damaged.
static uint32_t record_fits(const uint8_t *record, size_t left)
{
	uint32_t size = left >= RECORD_HEAD_SIZE ? record_size(record) : 0;

	return size >= RECORD_HEAD_SIZE && size <= left ? size : 0;
}

// A run of records that a fetch takes from one chunk, still in the mapped pages.
struct slice_of_chunk {
	const uint8_t *records;
	size_t size;
	uint64_t offset;
	uint32_t count;
	int64_t stored_ms;
};

struct found {
	struct slice_of_chunk *slices;
	uint32_t slice_count, slice_room;
	uint32_t count;
	size_t bytes;
	bool full;
	uint64_t next; // everything before it has been taken or is not there
};

static bool found_has_room(const struct log_fetch *fetch, const struct found *found, uint64_t count,
			   size_t size)
{
	return found->count + count <= fetch->max_messages &&
	       found->bytes + size <= fetch->max_bytes;
}

static int found_add(struct found *found, const struct slice_of_chunk *slice)
{
	if (slice->count == 0)
		return 0;
	if (found->slice_count == found->slice_room) {
		uint32_t room = MAX(2 * found->slice_room, 64u);
		struct slice_of_chunk *slices = realloc(found->slices, room * sizeof *slices);

		if (!slices)
			return -ENOMEM;
		found->slices = slices;
		found->slice_room = room;
	}
	found->slices[found->slice_count++] = *slice;
	found->count += slice->count;
	found->bytes += slice->size;
	return 0;
}

// Takes from a chunk what the fetch wants, record by record where it does not want all of it.
static int chunk_take(const struct log_fetch *fetch, const struct chunk_view *chunk,
		      struct found *found)
{
	struct slice_of_chunk slice = {chunk->records, chunk->size, chunk->offset,
				       (uint32_t)chunk->count, chunk->stored_ms};
	const uint8_t *at = chunk->records, *end = at + chunk->size;

	if (chunk->offset >= fetch->offset && chunk->offset + chunk->count <= fetch->until &&
	    found_has_room(fetch, found, chunk->count, chunk->size))
		return found_add(found, &slice);
	slice.count = 0;
	slice.size = 0;
	for (uint64_t offset = chunk->offset; offset < chunk->offset + chunk->count; ++offset) {
		uint32_t size = record_fits(at, (size_t)(end - at));

		if (!size)
			return -EUCLEAN;
		found->full =
			offset >= fetch->until ||
			(found->count + slice.count &&
			 !found_has_room(fetch, found, slice.count + 1ull, slice.size + size));
		if (found->full)
			break;
		if (offset >= fetch->offset) {
			if (slice.count++ == 0) {
				slice.records = at;
				slice.offset = offset;
			}
			slice.size += size;
		}
		at += size;
	}
	return found_add(found, &slice);
}

// What a fetch can expect of the partition, as the transaction sees it.
static void bounds_find(const struct log_fetch *fetch, MDB_txn *txn, uint64_t *ret_first,
			uint64_t *ret_end)
{
	struct store_partition *partition = store_topic_partition(fetch->topic, fetch->partition);
	struct store_partition_row row;

	if (partition_row_read(fetch->topic->store, txn, fetch->topic->id, fetch->partition,
			       &row) == 0) {
		*ret_first = row.first;
		*ret_end = row.end;
		return;
	}
	// Not written yet, or damaged: then what its chunks said when it was opened.
	*ret_first = *ret_end = 0;
	if (!partition)
		return;
	*ret_end = __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE);
	*ret_first = __atomic_load_n(&partition->first, __ATOMIC_ACQUIRE);
}

// From found->next on something is missing or damaged.
static int damage_found(const struct log_fetch *fetch, MDB_cursor *cursor,
			const struct found *found, uint64_t end)
{
	damage_report(fetch->topic->store,
		      &(struct damage){.kind = DAMAGE_MESSAGES,
				       .topic = fetch->topic->id,
				       .partition = fetch->partition,
				       .first = found->next,
				       .end = chunk_resume(cursor, fetch->topic->id,
							   fetch->partition, found->next, end)});
	return -EUCLEAN;
}

// Takes chunk after chunk up to `end`. -EUCLEAN: what should be at found->next is not.
static int chunks_take(const struct log_fetch *fetch, MDB_cursor *cursor, uint64_t end,
		       struct found *found)
{
	uint64_t topic = fetch->topic->id;
	struct chunk_view chunk;
	int r = chunk_seek(cursor, topic, fetch->partition, found->next, &chunk);

	while (!found->full && found->next < end) {
		if (r && r != MDB_NOTFOUND && r != MDB_CORRUPTED)
			return store_error(r);
		if (r || chunk.offset > found->next ||
		    (found->count && chunk.offset != found->next) || !chunk_is_whole(&chunk))
			return -EUCLEAN;
		if (chunk.size) {
			r = chunk_take(fetch, &chunk, found);
			if (r < 0)
				return r;
		}
		if (found->full)
			break;
		found->next = chunk.offset + chunk.count;
		if (found->next < end)
			r = chunk_next(cursor, topic, fetch->partition, &chunk);
	}
	return 0;
}

static int chunks_find(const struct log_fetch *fetch, MDB_txn *txn, MDB_cursor *cursor,
		       struct found *found)
{
	uint64_t first, end;
	int r;

	bounds_find(fetch, txn, &first, &end);
	found->next = MAX(fetch->offset, first);
	end = MIN(fetch->until, end);
	r = chunks_take(fetch, cursor, end, found);
	// What was read before it is handed out first.
	if (r == -EUCLEAN && found->next == MAX(fetch->offset, first))
		return damage_found(fetch, cursor, found, MAX(end, found->next));
	if (r == 0 && !found->full)
		found->next = fetch->until; // nothing else is there
	return r == -EUCLEAN ? 0 : r;
}

// One buffer: entries first, aligned to 16 bytes, then the records. Called inside the read
// transaction, since the slices point into mapped pages. The buffer is the fetch's, also on
// failure.
static int found_copy(struct log_fetch *fetch, const struct found *found)
{
	struct log_entry *entries;
	uint8_t *at;
	int r = buf_new(found->bytes + found->count * sizeof *entries + 16, &fetch->buf);

	if (r < 0)
		return r;
	entries = (struct log_entry *)(((uintptr_t)fetch->buf->data + 15) & ~(uintptr_t)15);
	fetch->entries = entries;
	fetch->count = found->count;
	at = (uint8_t *)(entries + found->count);
	for (uint32_t i = 0; i < found->slice_count; ++i) {
		const struct slice_of_chunk *slice = &found->slices[i];
		const uint8_t *end = at + slice->size;

		memcpy(at, slice->records, slice->size);
		for (uint32_t n = 0; n < slice->count; ++n) {
			uint32_t size = record_fits(at, (size_t)(end - at));

			if (!size)
				return -EUCLEAN;
			*entries++ =
				(struct log_entry){slice->offset + n, slice->stored_ms, at, size};
			at += size;
		}
	}
	fetch->next = entries[-1].offset + 1;
	return 0;
}

static int fetch_read(struct log_fetch *fetch, struct found *found)
{
	struct store *store = fetch->topic->store;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int r = store_read_begin(store, &txn);

	if (r < 0)
		return r;
	r = store_error(mdb_cursor_open(txn, store->chunks, &cursor));
	if (!r) {
		r = chunks_find(fetch, txn, cursor, found);
		if (!r)
			fetch->next = found->next;
		if (!r && found->count)
			r = found_copy(fetch, found);
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return r;
}

void store_range_fetch(struct log_fetch *fetch)
{
	struct found found = {0};
	int r;

	fetch->buf = NULL;
	fetch->count = 0;
	r = fetch_read(fetch, &found);
	free(found.slices);
	if (r < 0)
		fetch->buf = buf_unref(fetch->buf);
	fetch->code = store_topic_gone(fetch->topic) ? CODE_NOT_FOUND : store_error_code(r);
	if (fetch->code != CODE_OK)
		fetch->buf = buf_unref(fetch->buf);
}

// One record, as a copy that the caller frees. -ENOENT: the log does not have it any more, or the
// position holds nothing.
int store_range_copy(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
		     uint64_t offset, uint8_t **ret_record, uint32_t *ret_size,
		     int64_t *ret_stored_ms)
{
	struct chunk_view chunk;
	MDB_cursor *cursor;
	const uint8_t *at;
	uint32_t size = 0;
	int r = mdb_cursor_open(txn, store->chunks, &cursor);

	if (r)
		return store_error(r);
	r = chunk_seek(cursor, topic, partition, offset, &chunk);
	mdb_cursor_close(cursor);
	if (r)
		return store_error(r);
	if (chunk.offset > offset || !chunk.size)
		return -ENOENT;
	if (!chunk_is_whole(&chunk))
		return -EUCLEAN;
	at = chunk.records;
	for (uint64_t i = chunk.offset; i <= offset; ++i) {
		at += size;
		size = record_fits(at, (size_t)(chunk.records + chunk.size - at));
		if (!size)
			return -EUCLEAN;
	}
	*ret_record = malloc(size);
	if (!*ret_record)
		return -ENOMEM;
	memcpy(*ret_record, at, size);
	*ret_size = size;
	*ret_stored_ms = chunk.stored_ms;
	return 0;
}

int64_t store_range_oldest_ms(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition)
{
	struct chunk_view chunk;
	MDB_cursor *cursor;
	int r;

	if (mdb_cursor_open(txn, store->chunks, &cursor))
		return -1;
	r = chunk_seek(cursor, topic, partition, 0, &chunk);
	mdb_cursor_close(cursor);
	return r ? -1 : chunk.stored_ms;
}

// A binary search over offsets: the store time never falls along a partition. A place with no chunk
// at or behind it counts as too late, so the search goes on before it.
int store_range_find_time(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			  uint64_t first, uint64_t end, int64_t time_ms, uint64_t *ret)
{
	uint64_t low = first, high = end;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, store->chunks, &cursor);

	if (r)
		return store_error(r);
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		struct chunk_view chunk;

		r = chunk_seek(cursor, topic, partition, middle, &chunk);
		if (r && r != MDB_NOTFOUND)
			break;
		if (r == 0 && chunk.stored_ms < time_ms)
			low = MAX(middle + 1, chunk.offset + chunk.count);
		else
			high = r ? middle : MAX(low, MIN(chunk.offset, middle));
	}
	mdb_cursor_close(cursor);
	*ret = MIN(low, end);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}
