// What other clients have deleted on the cluster, as the slot for damage tells it, and in the
// state.
#pragma once

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"

// The slot of the adapter. @thread any
void rabbitmq_incidents_tell(struct adapter *adapter, adapter_answer_fn done, void *ctx);
// Of the state: how many there are, in words; "": none. @thread any
void rabbitmq_incidents_describe(struct adapter *adapter, char *room, size_t size);
