// Slots of the adapter about the cluster as a whole. @thread any
#pragma once

#include "adapters/adapter.h"

void rabbitmq_cluster_probe(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
			    void *ctx);
void rabbitmq_cluster_state(struct adapter *adapter, struct adapter_state *ret);
