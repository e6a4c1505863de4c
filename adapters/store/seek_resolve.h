// A seek target, resolved to an offset of one partition.
#pragma once

#include "adapters/seek_target.h"
#include "adapters/store/topic.h"

// Positive 1: *ret is the offset; 0: the target does not name this partition, the group stays; or
// negative errno. @thread the committer of the store
int store_seek_resolve(const struct seek_target *target, struct store *store, MDB_txn *txn,
		       const struct store_partition *partition, uint64_t *ret);
