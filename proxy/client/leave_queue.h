// The subscriptions of a worker's ended connections that have not left their groups yet.
#pragma once

#include "core/base/list.h"

#include <stdint.h>

struct member_link;

struct leave_queue {
	struct list waiting; // links whose LEAVE is not sent yet
	uint32_t out;        // of those that waited or might have, not gone yet
};

void leave_queue_init(struct leave_queue *queue);
// Sends LEAVE, now or when others have gone; `before`: of its connection have been added before.
void leave_queue_add(struct leave_queue *queue, struct member_link *link, uint32_t before);
void leave_queue_gone(struct leave_queue *queue, const struct member_link *link); // GONE has come
void leave_queue_end(struct leave_queue *queue); // the worker ends: all that wait go
