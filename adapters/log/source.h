// A group's reading of a topic, for every backend that is a log: the source slots of adapter.h over
// the backend's log_ops.
#pragma once

#include "adapters/log/log.h"

int log_source_open(struct adapter *adapter, const struct log_ops *ops,
		    const struct source_config *config, struct source **ret);
void log_source_demand(struct source *source, uint32_t messages, uint64_t bytes, uint32_t rejected);
size_t log_source_backlog(struct source *source, struct source_partition *partitions, size_t room);
void log_source_close(struct source *source, void (*done)(void *ctx), void *ctx);
