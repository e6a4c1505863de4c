// The topics and consumer groups that lie on a cluster: a slot of the adapter.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

void kafka_existing(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
		    void *ctx);
