// Settles whose callers wait until they are durable.
#pragma once

#include "adapters/queue/held_state.h"

struct held_waiter {
	struct held_waiter *next; // among the answered
	held_done_fn done;
	void *ctx;
	enum code code;
	uint32_t left; // members that must end first, and the settle itself while it is applied
};

struct held_waiter *held_waiter_new(held_done_fn done, void *ctx);        // NULL: no memory
void held_waiter_add(struct held_waiter *waiter, struct held_item *item); // waiter may be NULL
void held_waiter_leave(struct held *held, struct held_waiter *waiter);    // likewise
// The member has ended for its waiter, if it has one.
void held_waiter_end(struct held *held, struct held_item *item, enum code code);
void held_waiter_tell(struct held *held);    // calls what has been answered
void held_waiter_discard(struct held *held); // frees them instead
