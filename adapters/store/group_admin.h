// Making and deleting a group of a durable log, and its backlog while no source is open. Group and
// topic are borrowed until the call returns; `done` comes once, on a thread of the log or before
// the call returns. @thread any
#pragma once

#include "adapters/adapter.h"

struct durable_log;

// OK when it is there as the same incarnation; CONFLICT: as another.
void store_group_admin_create(struct durable_log *log, const struct group *group,
			      const struct topic *topic, adapter_done_fn done, void *ctx);
// OK when it is not there. Its positions and its retry store go too.
void store_group_admin_delete(struct durable_log *log, const struct group *group,
			      const struct topic *topic, adapter_done_fn done, void *ctx);
// Every partition, as of the last commit.
void store_group_admin_backlog(struct durable_log *log, const struct group *group,
			       const struct topic *topic, adapter_answer_fn done, void *ctx);
