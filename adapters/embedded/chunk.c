// A chunk begins where the one before ended, the first one at the partition's first offset, and the
// last one ends at its end: so a chunk that is missing, or under a wrong key, is seen by whoever
// walks over its place, and told from one that was deleted.
//
// A flipped bit in a key leaves its page out of order: a search may then miss the neighbours too.
// What they hold counts as missing like the chunk itself, until the page is put right (repair.c).

#include "adapters/embedded/chunk.h"

#include "adapters/embedded/row.h"

#include <errno.h>

#define RESUME_STEPS 10000u // looked at to find where reading can go on

static bool is_of(const MDB_val *key, uint64_t topic, uint32_t partition)
{
	return key->mv_size == STORE_KEY && store_key_id(key->mv_data) == topic &&
	       store_key_partition(key->mv_data) == partition;
}

static int chunk_read(const MDB_val *key, const MDB_val *value, struct chunk_view *ret)
{
	const struct store_chunk *chunk = value->mv_data;

	if (!chunk_head_is_whole(key, value))
		return MDB_CORRUPTED;
	*ret = (struct chunk_view){.offset = store_key_offset(key->mv_data),
				   .count = le32_get(&chunk->count),
				   .stored_ms = (int64_t)le64_get(&chunk->stored_ms),
				   .records = chunk->records,
				   .size = value->mv_size - sizeof *chunk};
	return 0;
}

int chunk_seek(MDB_cursor *cursor, uint64_t topic, uint32_t partition, uint64_t offset,
	       struct chunk_view *ret)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	int r;

	store_key(bytes, topic, partition, offset);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (r == 0 && is_of(&key, topic, partition) && store_key_offset(key.mv_data) == offset)
		return chunk_read(&key, &value, ret);
	if (r && r != MDB_NOTFOUND)
		return r;
	r = mdb_cursor_get(cursor, &key, &value, r == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
	if (r == 0 && is_of(&key, topic, partition)) {
		r = chunk_read(&key, &value, ret);
		if (r || ret->offset + ret->count > offset)
			return r;
	} else if (r && r != MDB_NOTFOUND) {
		return r;
	}
	key = (MDB_val){sizeof bytes, bytes};
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (r == 0 && !is_of(&key, topic, partition))
		return MDB_NOTFOUND;
	return r ? r : chunk_read(&key, &value, ret);
}

int chunk_next(MDB_cursor *cursor, uint64_t topic, uint32_t partition, struct chunk_view *ret)
{
	MDB_val key, value;
	int r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);

	if (r == 0 && !is_of(&key, topic, partition))
		return MDB_NOTFOUND;
	return r ? r : chunk_read(&key, &value, ret);
}

bool chunk_is_whole(const struct chunk_view *chunk)
{
	const struct store_chunk *head = CONTAINER_OF(chunk->records, struct store_chunk, records);

	return chunk_records_are_whole(
		&(MDB_val){sizeof *head + chunk->size, (void *)(uintptr_t)head});
}

uint64_t chunk_resume(MDB_cursor *cursor, uint64_t topic, uint32_t partition, uint64_t after,
		      uint64_t end)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	struct chunk_view chunk;
	int r;

	store_key(bytes, topic, partition, after);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	for (unsigned i = 0; r == 0 && i < RESUME_STEPS; ++i) {
		if (is_of(&key, topic, partition) && store_key_offset(key.mv_data) > after &&
		    chunk_read(&key, &value, &chunk) == 0 && chunk_is_whole(&chunk))
			return MIN(chunk.offset, end);
		r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	return end;
}

// ---- the row of a partition

static bool has_chunks(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	bool found;

	if (mdb_cursor_open(txn, store->chunks, &cursor))
		return false;
	store_key(bytes, topic, partition, 0);
	found = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE) == 0 &&
		is_of(&key, topic, partition) && chunk_head_is_whole(&key, &value);
	mdb_cursor_close(cursor);
	return found;
}

int partition_row_read(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
		       struct store_partition_row *ret)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes}, value;
	int r;

	store_key(bytes, topic, partition, 0);
	r = row_get(txn, store->partitions, &key, sizeof *ret, &value);
	if (!r)
		memcpy(ret, value.mv_data, sizeof *ret);
	if (!r && ret->first > ret->end)
		return -EUCLEAN;
	return r == -ENOENT && has_chunks(store, txn, topic, partition) ? -EUCLEAN : r;
}

// Of an empty partition only the damaged row itself says where it ended: one of two equal numbers
// may be wrong. Positions may be passed over, but none comes twice.
static void rebuild_empty(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			  struct store_partition_row *ret)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes}, value;
	struct store_partition_row row;

	store_key(bytes, topic, partition, 0);
	if (mdb_get(txn, store->partitions, &key, &value) || value.mv_size != sizeof row)
		return;
	memcpy(&row, value.mv_data, sizeof row);
	ret->end = MAX(row.first, row.end);
	if (ret->end >= 1ull << 62)
		ret->end = MIN(row.first, row.end);
	ret->end = MAX(ret->end, store_first_offset(store));
	ret->first = ret->end;
}

int partition_row_rebuild(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			  struct store_partition_row *ret)
{
	uint64_t first = store_first_offset(store);
	struct chunk_view chunk;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, store->chunks, &cursor);

	if (r)
		return store_error(r);
	*ret = (struct store_partition_row){.first = first, .end = first};
	r = chunk_seek(cursor, topic, partition, 0, &chunk);
	if (r == MDB_NOTFOUND)
		rebuild_empty(store, txn, topic, partition, ret);
	else if (r == 0)
		ret->first = chunk.offset;
	for (; r == 0 || r == MDB_CORRUPTED; r = chunk_next(cursor, topic, partition, &chunk)) {
		if (r)
			continue; // its place is found missing
		ret->end = chunk.offset + chunk.count;
		ret->bytes += sizeof(struct store_chunk) + chunk.size;
		ret->stored_ms = chunk.stored_ms;
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

int partition_ends_check(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			 const struct store_partition_row *row, uint64_t *ret_first,
			 uint64_t *ret_end)
{
	struct chunk_view chunk;
	MDB_cursor *cursor;
	int r;

	if (row->first == row->end)
		return 0;
	r = mdb_cursor_open(txn, store->chunks, &cursor);
	if (r)
		return store_error(r);
	*ret_first = row->first;
	r = chunk_seek(cursor, topic, partition, row->first, &chunk);
	if (r == 0 && chunk.offset == row->first) {
		*ret_first = row->end - 1;
		r = chunk_seek(cursor, topic, partition, row->end - 1, &chunk);
		if (r == 0 && chunk.offset < row->end && chunk.offset + chunk.count == row->end) {
			mdb_cursor_close(cursor);
			return 0;
		}
	}
	*ret_end = chunk_resume(cursor, topic, partition, *ret_first, row->end);
	mdb_cursor_close(cursor);
	return 1;
}
