// The table `damaged` of a store: its incidents over restarts.
#pragma once

#include <lmdb.h>
#include <stdint.h>

struct store;

// Reads the table into the store's list; from then on each find is written to it, by the committer
// that the store has. 0 or negative errno. @thread start-up, when its committer runs
int damage_table_open(struct store *store);
// Those of the topic, or of one group of it (0: all), of some kinds (DAMAGE_ANY, or bits), have
// been dealt with: they leave the table in this transaction, and the list at once. 0 or negative
// errno.
// @thread the committer
int damage_table_forget(struct store *store, MDB_txn *txn, uint64_t topic, uint64_t group,
			uint32_t kinds);
