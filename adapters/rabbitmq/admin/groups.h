// Slots of the adapter that make, delete, move and count groups without an open source. @thread any
#pragma once

#include "adapters/adapter.h"

void rabbitmq_groups_create(struct adapter *adapter, const struct group *group,
			    const struct topic *topic, adapter_done_fn done, void *ctx);
void rabbitmq_groups_delete(struct adapter *adapter, const struct group *group,
			    const struct topic *topic, adapter_done_fn done, void *ctx);
// To the end: everything that waits is dropped. Anything else is UNSUPPORTED_BY_BACKEND.
void rabbitmq_groups_reset(struct adapter *adapter, const struct group *group,
			   const struct topic *topic, const struct seek_target *to, bool preview,
			   adapter_answer_fn done, void *ctx);
void rabbitmq_groups_backlog(struct adapter *adapter, const struct group *group,
			     const struct topic *topic, adapter_answer_fn done, void *ctx);
