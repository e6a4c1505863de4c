// When a delivery may be handed out.
#pragma once

#include "adapters/queue/held_state.h"

// By its due time: handed out next, held until then, or written back; expired: acknowledged. It has
// arrived, was to be written, or is released.
void held_due_place(struct held *held, struct held_item *item);
// Into its place among those that are handed out next, unless its time to live is over.
void held_due_ready(struct held *held, struct held_item *item);
bool held_due_expire(struct held *held, struct held_item *item); // true: it was acknowledged
// It waits and has a tag from now on: not for longer than the backend may allow.
void held_due_tagged(struct held *held, struct held_item *item);
void held_due_wake(struct held *held);
uint64_t held_due_next_ms(const struct held *held); // by the steady clock
