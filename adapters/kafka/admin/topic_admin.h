// Making, changing and deleting topics: slots of the adapter.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

void topic_admin_create(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx);
void topic_admin_change(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx);
void topic_admin_delete(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx);
