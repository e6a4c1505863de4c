// Making, changing and deleting topics: slots of the adapter.
#pragma once

#include "adapters/kafka/adapter.h"

void kafka_topic_create(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx);
void kafka_topic_change(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx);
void kafka_topic_delete(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx);
