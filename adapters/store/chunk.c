// Chunks of a partition: their two checksums, and walking from one to the next.
//
// A chunk begins where its predecessor ended, the first one at the partition's first offset, and
// the last one ends at the partition's end. So a chunk that is missing, or lies under a wrong key,
// is noticed by every walk over its place, and differs from one that was deleted.
//
// A flipped bit in a key leaves its page out of order: a search may then miss the neighbours too.
// What they hold counts as missing like the chunk itself, until the page is repaired
// (topic_skip.c).
//
// Invariant: a chunk_view is only filled in from a chunk whose head is whole. Not here: the
// records' own checksum is not compared while walking; a reader of records calls chunk_is_whole().

#include "adapters/store/chunk.h"

#include "adapters/store/error.h"
#include "adapters/store/key.h"
#include "adapters/store/row.h"
#include "core/base/crc32c.h"
#include "core/base/util.h"

#include <errno.h>

#define RESUME_STEPS 10000u // looked at to find where reading can go on

// ---- checksums

static uint32_t chunk_head_crc(const MDB_val *key, const struct store_chunk *chunk,
			       size_t records_size)
{
	uint8_t size[8];

	le64_put(size, records_size);
	return crc32c(row_crc(key, chunk, sizeof *chunk), size, sizeof size);
}

void chunk_seal(const MDB_val *key, struct store_chunk *chunk, size_t records_size)
{
	le32_put(&chunk->records_crc, crc32c(0, chunk->records, records_size));
	le32_put(&chunk->crc, chunk_head_crc(key, chunk, records_size));
}

bool chunk_head_is_whole(const MDB_val *key, const MDB_val *value)
{
	const struct store_chunk *chunk = value->mv_data;

	return value->mv_size >= sizeof *chunk &&
	       le32_get(&chunk->crc) == chunk_head_crc(key, chunk, value->mv_size - sizeof *chunk);
}

bool chunk_records_are_whole(const MDB_val *value)
{
	const struct store_chunk *chunk = value->mv_data;

	return crc32c(0, chunk->records, value->mv_size - sizeof *chunk) ==
	       le32_get(&chunk->records_crc);
}

// ---- walking

bool chunk_is_of(const MDB_val *key, uint64_t topic, uint32_t partition)
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

// Finds the chunk that holds `offset`, else the next one behind it. LMDB searches for the first key
// at or behind the offset, so the chunk that contains it is usually the previous one.
int chunk_seek(MDB_cursor *cursor, uint64_t topic, uint32_t partition, uint64_t offset,
	       struct chunk_view *ret)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	int r;

	store_key(bytes, topic, partition, offset);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (r == 0 && chunk_is_of(&key, topic, partition) &&
	    store_key_offset(key.mv_data) == offset)
		return chunk_read(&key, &value, ret);
	if (r && r != MDB_NOTFOUND)
		return r;
	r = mdb_cursor_get(cursor, &key, &value, r == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
	if (r == 0 && chunk_is_of(&key, topic, partition)) {
		r = chunk_read(&key, &value, ret);
		if (r || ret->offset + ret->count > offset)
			return r;
	} else if (r && r != MDB_NOTFOUND) {
		return r;
	}
	key = (MDB_val){sizeof bytes, bytes};
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (r == 0 && !chunk_is_of(&key, topic, partition))
		return MDB_NOTFOUND;
	return r ? r : chunk_read(&key, &value, ret);
}

int chunk_next(MDB_cursor *cursor, uint64_t topic, uint32_t partition, struct chunk_view *ret)
{
	MDB_val key, value;
	int r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);

	if (r == 0 && !chunk_is_of(&key, topic, partition))
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
		if (chunk_is_of(&key, topic, partition) && store_key_offset(key.mv_data) > after &&
		    chunk_read(&key, &value, &chunk) == 0 && chunk_is_whole(&chunk))
			return MIN(chunk.offset, end);
		r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	return end;
}
