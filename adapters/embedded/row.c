// The checksum of a row says that it is the row that was written under this very key. What it
// cannot say is that no row is missing; that is told by other rows (chunk.c, audit.c).

#include "adapters/embedded/row.h"

#include "core/base/crc32c.h"

#include <errno.h>

static uint32_t row_crc(const MDB_val *key, const void *row, size_t size)
{
	return crc32c(crc32c(0, key->mv_data, key->mv_size),
		      (const uint8_t *)row + sizeof(uint32_t), size - sizeof(uint32_t));
}

void row_seal(const MDB_val *key, void *row, size_t size)
{
	assert(size >= sizeof(uint32_t));
	le32_put(row, row_crc(key, row, size));
}

bool row_is_whole(const MDB_val *key, const MDB_val *value, size_t size_min)
{
	assert(size_min >= sizeof(uint32_t));
	return value->mv_size >= size_min &&
	       le32_get(value->mv_data) == row_crc(key, value->mv_data, value->mv_size);
}

int row_get(MDB_txn *txn, MDB_dbi table, MDB_val *key, size_t size_min, MDB_val *ret)
{
	int r = mdb_get(txn, table, key, ret);

	if (r)
		return store_error(r);
	return row_is_whole(key, ret, size_min) ? 0 : -EUCLEAN;
}

int row_put(MDB_txn *txn, MDB_dbi table, MDB_val *key, void *row, size_t size)
{
	MDB_val value = {size, row};

	row_seal(key, row, size);
	return store_error(mdb_put(txn, table, key, &value, 0));
}

// ---- chunks

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
