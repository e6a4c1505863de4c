// The row of a cursor: the position of a group in one partition, read and written inside a
// transaction of the caller. Reading: any thread; writing: the committer.
#pragma once

#include "adapters/store/store.h"

// A partition that never had a cursor (the topic has grown since, or a D1 store was lost) begins at
// its first message. -EUCLEAN: the row is damaged, or missing. ret->text is the caller's to free.
int cursor_get(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
	       struct log_cursor *ret);
int cursor_put(struct store *store, MDB_txn *txn, uint64_t group, const struct log_cursor *cursor);

// How many partitions of the group have a cursor: those below. 0, -ENOENT: not counted (of a store
// that was written before they were), -EUCLEAN.
#define CURSOR_COUNT UINT32_MAX // in place of a partition
int cursor_count(struct store *store, MDB_txn *txn, uint64_t group, uint64_t *ret);
