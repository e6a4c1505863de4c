// Walking over the chunks of one partition, inside a transaction of the caller.
#pragma once

#include "adapters/embedded/store.h"

struct chunk_view {
	uint64_t offset, count;
	int64_t stored_ms;
	const uint8_t *records; // none: damaged ones that an operator has skipped
	size_t size;
};

// Results of LMDB: MDB_NOTFOUND: no more; MDB_CORRUPTED: the head of the chunk is damaged.
//
// Puts the cursor on the chunk that holds `offset`, or on the next one of the partition.
int chunk_seek(MDB_cursor *cursor, uint64_t topic, uint32_t partition, uint64_t offset,
	       struct chunk_view *ret);
int chunk_next(MDB_cursor *cursor, uint64_t topic, uint32_t partition, struct chunk_view *ret);
bool chunk_is_whole(const struct chunk_view *chunk); // its records

// Where what can be read begins again, at `end` at the latest: the next whole chunk behind `after`.
uint64_t chunk_resume(MDB_cursor *cursor, uint64_t topic, uint32_t partition, uint64_t after,
		      uint64_t end);

// The row of a partition. -ENOENT: there is none; -EUCLEAN: it is damaged, or it is missing though
// there are chunks.
int partition_row_read(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
		       struct store_partition_row *ret);
// What the chunks say of a partition whose row is damaged: 0, or negative errno.
int partition_row_rebuild(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			  struct store_partition_row *ret);
// Whether chunks begin and end where the row says. Else 1, and *ret_first, *ret_end: what is
// missing.
int partition_ends_check(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			 const struct store_partition_row *row, uint64_t *ret_first,
			 uint64_t *ret_end);
