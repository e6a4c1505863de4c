// What a topic that is not ours is set to.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

// The slot of the adapter. @thread any
void foreign_settings_describe(struct adapter *adapter, const struct topic *topic,
			       adapter_answer_fn done, void *ctx);
