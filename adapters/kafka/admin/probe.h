// Whether a cluster can be reached, and what it can do: a slot of the adapter.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

void kafka_probe(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done, void *ctx);
