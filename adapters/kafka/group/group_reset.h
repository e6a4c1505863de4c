// Moving a group to another position: a slot of the adapter.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

void kafka_group_reset(struct adapter *adapter, const struct group *group,
		       const struct topic *topic, const struct seek_target *to, bool preview,
		       adapter_answer_fn done, void *ctx);
