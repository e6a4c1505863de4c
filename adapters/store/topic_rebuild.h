// Making the row of a topic anew.
#pragma once

#include "adapters/store/durable_log.h"

// From what the registry says of the topic, with at least as many partitions as have something in
// its store. 0: done, or with `preview` it would be. -ENOENT: its row is whole, or nothing of it is
// in the store. @thread the committer of the D2 store
int topic_rebuild(struct durable_log *log, MDB_txn *txn, const struct topic *topic, bool preview);
