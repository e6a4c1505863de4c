// Work that may block, and a loop for what operators ask for: neither holds up a loop of the proxy.
//
// One thread runs what the data plane waits for, in order; the admin loop runs administrative
// requests, so that they hold up no group.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

struct kafka_task {
	struct loop_task task; // task.c's, as the adapter is
	struct adapter *adapter;
	void (*run)(struct adapter *adapter, struct kafka_task *task); // owns it; may block
};

int kafka_task_start(struct adapter *adapter);
void kafka_task_stop(struct adapter *adapter); // runs what waits, then returns
// For the data plane: runs in order on the blocking worker.
void kafka_task_post_blocking(struct adapter *adapter, struct kafka_task *task); // @thread any
// The same for what operators ask for: it holds up no group. It is a loop of the adapter's own, so
// that a task can go on when an event comes.
void kafka_task_post_admin(struct adapter *adapter, struct kafka_task *task); // @thread any
struct loop *kafka_task_admin_loop(struct adapter *adapter);
// What waits there has run, and kafka_task_is_leaving() is true for all that comes. Blocks.
void kafka_task_drain_admin(struct adapter *adapter);
bool kafka_task_is_leaving(struct adapter *adapter);
