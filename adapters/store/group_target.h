// Where a group is to stand, resolved against one partition.
#pragma once

#include "adapters/store/topic.h"
#include "adapters/target.h"

// Positive 1: *ret is the offset; 0: the target does not name this partition, the group stays; or
// negative errno. @thread the committer of the store
int store_group_target_resolve(const struct group_target *target, struct store *store, MDB_txn *txn,
			       const struct store_partition *partition, uint64_t *ret);
