// When deliveries end by their visibility timeout: how many deadlines end in each slot of time.
#pragma once

#include "proxy/engine/dispatch_state.h"

// The slot of a deadline that is put there now.
uint8_t dispatch_deadlines_slot_of(struct dispatch *dispatch, uint64_t deadline_ns,
				   uint64_t now_ns);
void dispatch_deadlines_add(struct dispatch *dispatch, struct flight *flight, uint64_t now_ns);
void dispatch_deadlines_rebuild(struct dispatch *dispatch, uint64_t now_ns); // from all deliveries
void dispatch_deadlines_find_next(struct dispatch *dispatch, uint64_t now);
// Whether a slot up to `now` has an entry.
bool dispatch_deadlines_have_ended(const struct dispatch *dispatch, uint64_t now);

static inline void dispatch_deadlines_remove(struct dispatch *dispatch, const struct flight *flight)
{
	--dispatch->slots[flight->slot];
}
