// Whose messages a store holds, and the highest id it ever stored something under: one row of table
// `meta` of the D2 store, so that a registry that was lost or put back gives no id a second
// meaning.
#pragma once

#include "adapters/store/store.h"

// The store is this installation's from now on. -EPERM with a sentence: it holds something of
// another. 0 is no installation: nothing is written or compared. @thread start-up
int identity_take(struct store *store, uint64_t installation, char **ret_error);
// Raises the highest id, inside the transaction that makes a topic or group. `store`: the D2 store.
// 0 or negative errno. @thread its committer
int identity_see(struct store *store, MDB_txn *txn, uint64_t id);

// What the files below data_dir remember, as adapter.h says (recall); read without opening the
// store, so no process may write to it meanwhile. @thread start-up
int identity_recall(const char *data_dir, struct adapter_recall *ret);
