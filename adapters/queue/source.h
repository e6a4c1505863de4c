// A group's consuming from a queue, for every backend that is one: the source slots of adapter.h
// over the backend's queue_ops. The slot for the backlog is in source_backlog.h.
#pragma once

#include "adapters/queue/queue.h"

// -ENOMEM. The opener's handlers have `lost`.
int queue_source_open(struct adapter *adapter, const struct queue_ops *ops,
		      const struct source_config *config, struct source **ret);
void queue_source_demand(struct source *source, uint32_t messages, uint64_t bytes,
			 uint32_t rejected);
void queue_source_settle(struct source *source, struct settle *settles, size_t count,
			 void (*done)(void *ctx, enum code code), void *ctx);
void queue_source_close(struct source *source, void (*done)(void *ctx), void *ctx);
