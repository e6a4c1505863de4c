// What was found of the retry stores of groups, remembered for a minute: looking for a queue that
// is not there costs the broker a channel and a line in its log. All calls @thread any.
#pragma once

#include "adapters/rabbitmq/receive/store.h"

struct rabbitmq_store_memo;

int rabbitmq_store_memo_start(struct adapter *adapter);
void rabbitmq_store_memo_stop(struct adapter *adapter); // nothing of the adapter runs any more

// True: it is known, and *ret_store says what is there. *ret_number, in any case: for put().
bool rabbitmq_store_memo_get(struct adapter *adapter, const struct group *group,
			     struct rabbitmq_store *ret_store, uint64_t *ret_number);
// What a look has found that began behind get(). Not taken when anything was forgotten meanwhile,
// or without memory.
void rabbitmq_store_memo_put(struct adapter *adapter, const struct group *group,
			     struct rabbitmq_store store, uint64_t number);
// Something of it was made, deleted, or is missing.
void rabbitmq_store_memo_forget(struct adapter *adapter, const struct group *group);
