// Reading and writing rows with their checksum, which every table uses.
//
// The checksum covers the key too: it says that this is the row that was written under this very
// key. It cannot say that no row is missing; other rows do (chunk.c, scrub.c).
//
// Invariant: row_get() hands out no row whose checksum does not fit. Not here: chunks, whose
// records have a checksum of their own (chunk.c).

#include "adapters/store/row.h"

#include "adapters/store/error.h"
#include "core/base/crc32c.h"
#include "core/base/util.h"

#include <errno.h>

uint32_t row_crc(const MDB_val *key, const void *row, size_t size)
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
