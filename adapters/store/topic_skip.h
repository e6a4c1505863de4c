// Giving up what is damaged of a topic, as an operator said.
#pragma once

#include "adapters/adapter.h"

struct durable_log;

// The answer names the ranges of offsets; `preview`: those that would be given up. `done` comes
// once, on the committer's thread or before the call returns. @thread any
void store_topic_skip(struct durable_log *log, const struct topic *topic, bool preview,
		      adapter_answer_fn done, void *ctx);
