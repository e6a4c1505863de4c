// The subscriptions of a worker's ended connections that have not left their groups yet.
#pragma once

#include "core/base/list.h"

#include <stdint.h>

struct member_link;

struct leaves {
	struct list waiting; // links whose LEAVE is not sent yet
	uint32_t out;        // of those that waited or might have, not gone yet
};

void leaves_init(struct leaves *leaves);
// Sends LEAVE, now or when others have gone; `before`: of its connection have been added before.
void leaves_add(struct leaves *leaves, struct member_link *link, uint32_t before);
void leaves_gone(struct leaves *leaves, const struct member_link *link); // GONE has come
void leaves_end(struct leaves *leaves); // the worker ends: all that wait go
