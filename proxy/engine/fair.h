// A run queue of two levels: queues (tenants) share a round by a quantum of bytes each, and the
// members (connections) of a queue share its quantum.
#pragma once

#include "core/base/list.h"

struct fair {
	struct list active; // queues that have members waiting
};

struct fair_queue {
	struct list active; // member of fair->active
	struct list waiting;
};

struct fair_item {
	struct list waiting; // member of its queue's list; alone: not waiting
};

// Does a piece of the item's work, at most about `most` bytes. Returns the bytes done; *ret_again:
// it has more to do.
typedef size_t (*fair_work_fn)(struct fair_item *item, size_t most, bool *ret_again);

void fair_init(struct fair *fair);
void fair_queue_init(struct fair_queue *queue);
void fair_item_init(struct fair_item *item);

void fair_add(struct fair *fair, struct fair_queue *queue,
	      struct fair_item *item); // does nothing if it waits already
void fair_remove(struct fair_queue *queue, struct fair_item *item);
// One round: each active queue may do `quantum` bytes. True: some still have work.
bool fair_round(struct fair *fair, size_t quantum, size_t most, fair_work_fn work);
