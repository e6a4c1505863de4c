// Rows of cursors and retries: reading and writing them inside a transaction.
#pragma once

#include "adapters/embedded/store.h"

// A partition that never had a cursor (the topic has grown since, or a D1 store was lost) begins at
// its first message. -EUCLEAN: the row is damaged, or missing. ret->text is the caller's to free.
int cursor_get(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
	       struct log_cursor *ret);
int cursor_put(struct store *store, MDB_txn *txn, uint64_t group, const struct log_cursor *cursor);

// How many partitions of the group have a cursor: those below. 0, -ENOENT: not counted (of a store
// that was written before they were), -EUCLEAN.
#define CURSOR_COUNT UINT32_MAX // in place of a partition
int cursor_count(struct store *store, MDB_txn *txn, uint64_t group, uint64_t *ret);

// Writes or removes one row of the retry store and adjusts the counts of the cursor in memory.
int retry_apply(struct store *store, MDB_txn *txn, uint64_t group, uint64_t topic,
		struct log_retry *retry, struct log_cursor *counts);
// The rows of one partition of a group, from `from` on: how many lie before `until`.
int retry_count(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
		uint64_t until, uint64_t *ret);
// Deletes at most `max` rows of a group (of one partition, or with UINT32_MAX of all); returns how
// many, or negative errno.
int retry_delete(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
		 unsigned max);
