// The rows of a retry store, inside a transaction of the caller. Reading: any thread; writing: the
// committer.
#pragma once

#include "adapters/store/store.h"

// Writes or removes one row of the retry store and adjusts the counts of the cursor in memory.
int store_retry_apply(struct store *store, MDB_txn *txn, uint64_t group, uint64_t topic,
		      struct log_retry *retry, struct log_cursor *counts);
// The rows of one partition of a group, from `from` on: how many lie before `until`.
int store_retry_count(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
		      uint64_t until, uint64_t *ret);
// Deletes at most `max` rows of a group (of one partition, or with UINT32_MAX of all); returns how
// many, or negative errno.
int store_retry_delete(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
		       unsigned max);
