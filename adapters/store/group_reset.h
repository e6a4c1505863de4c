// Moving a group to another position.
#pragma once

#include "adapters/adapter.h"

struct durable_log;

// `preview`: nothing is moved. All arguments are borrowed
// until the call returns; `done` comes once, on the committer's thread or before the call returns.
// No source of the group may be open, but for a preview. @thread any
void store_group_reset(struct durable_log *log, const struct group *group,
		       const struct topic *topic, const struct seek_target *to, bool preview,
		       adapter_answer_fn done, void *ctx);
