// Rows with checksums: how every table is read and written.
//
// A row begins with a CRC-32C over its key and everything behind the checksum, so that a flipped
// bit in a key, a count or a position is seen like one in a record. Of a chunk it covers key, head
// and the number of bytes of its records; these have a checksum of their own, so that walking over
// chunks need not read them.
#pragma once

#include "adapters/embedded/store.h"

// `row` is packed and begins with its crc.
void row_seal(const MDB_val *key, void *row, size_t size);
bool row_is_whole(const MDB_val *key, const MDB_val *value, size_t size_min);

// 0, -ENOENT, -EUCLEAN (damaged), or another negative errno. *ret lives as long as the transaction.
int row_get(MDB_txn *txn, MDB_dbi table, MDB_val *key, size_t size_min, MDB_val *ret);
int row_put(MDB_txn *txn, MDB_dbi table, MDB_val *key, void *row, size_t size); // seals it

void chunk_seal(const MDB_val *key, struct store_chunk *chunk, size_t records_size);
bool chunk_head_is_whole(const MDB_val *key, const MDB_val *value);
bool chunk_records_are_whole(const MDB_val *value); // of a chunk whose head is
