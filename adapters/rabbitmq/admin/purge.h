// The slot of the adapter that purges a topic. @thread any
#pragma once

#include "adapters/adapter.h"

void rabbitmq_purge_topic(struct adapter *adapter, const struct topic *topic, bool preview,
			  adapter_answer_fn done, void *ctx);
