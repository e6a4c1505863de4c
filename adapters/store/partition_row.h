// The row of a partition, read and held against its chunks, inside a transaction of the caller. Any
// thread.
#pragma once

#include <lmdb.h>
#include <stdint.h>

struct store;
struct store_partition_row;

// The row. -ENOENT: there is none; -EUCLEAN: it is damaged, or it is missing though
// there are chunks.
int partition_row_read(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
		       struct store_partition_row *ret);
// What the chunks say of a partition whose row is damaged: 0, or negative errno.
int partition_row_rebuild(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			  struct store_partition_row *ret);
// Whether chunks begin and end where the row says. Else 1, and *ret_first, *ret_end: what is
// missing.
int partition_row_check_ends(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			     const struct store_partition_row *row, uint64_t *ret_first,
			     uint64_t *ret_end);
