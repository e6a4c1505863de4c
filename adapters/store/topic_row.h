// The row of a topic in table `topics` of the D2 store.
#pragma once

#include "core/model/model.h"

#include <lmdb.h>

struct store;
struct store_topic_row;

// The class that a topic has in the store: D1, or D2 for all that ask for more.
enum durability topic_row_durability(const struct topic *topic);
// In a transaction of its own. `store`: of either class. 0, -ENOENT, -EUCLEAN (damaged), or another
// negative errno. @thread any
int topic_row_read(struct store *store, uint64_t id, struct store_topic_row *ret);
// Writes it, with this number of partitions. `store`: the D2 store. 0 or negative errno.
// @thread its committer
int topic_row_put(struct store *store, MDB_txn *txn, const struct topic *topic,
		  uint32_t partitions);
