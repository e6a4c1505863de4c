// The slot of the adapter that lists exchanges and queues of all clients. @thread any
#pragma once

#include "adapters/adapter.h"

void rabbitmq_existing_list(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
			    void *ctx);
