// Making and deleting groups, and the backlog of one whose source is closed: slots of the adapter.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

void kafka_groups_create(struct adapter *adapter, const struct group *group,
			 const struct topic *topic, adapter_done_fn done, void *ctx);
void kafka_groups_delete(struct adapter *adapter, const struct group *group,
			 const struct topic *topic, adapter_done_fn done, void *ctx);
void kafka_groups_backlog(struct adapter *adapter, const struct group *group,
			  const struct topic *topic, adapter_answer_fn done, void *ctx);
