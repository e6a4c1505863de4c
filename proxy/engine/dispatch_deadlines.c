// Deadlines of deliveries, in slots of a hundredth of the visibility timeout.
//
// The idea: a slot is a number, how many deadlines end in it, and not a list. So setting, extending
// and clearing a deadline costs an addition, however many deliveries are in flight. Only when a
// slot that has entries is over are all deliveries looked at, and the slots counted anew.
//
// Invariants: the sum of the slots is the number of owned deliveries; no slot before slot_next has
// an entry. A deadline ends with its slot, so never early and at most one slot late.
//
// What it does not do: take an overdue delivery back (dispatch_reclaim.c).

#include "proxy/engine/dispatch_deadlines.h"

uint8_t dispatch_deadlines_slot_of(struct dispatch *dispatch, uint64_t deadline_ns, uint64_t now_ns)
{
	uint64_t now = now_ns / dispatch->slot_ns;
	uint64_t slot = deadline_ns / dispatch->slot_ns + 1;

	// A deadline beyond the table is put into its last slot and looked at again then.
	slot = MAX(slot, now + 1);
	slot = MIN(slot, now + DISPATCH_SLOTS - 1);
	dispatch->slot_next = MIN(dispatch->slot_next, slot);
	return (uint8_t)(slot & (DISPATCH_SLOTS - 1));
}

void dispatch_deadlines_add(struct dispatch *dispatch, struct flight *flight, uint64_t now_ns)
{
	flight->slot = dispatch_deadlines_slot_of(dispatch, flight->deadline_ns, now_ns);
	++dispatch->slots[flight->slot];
}

void dispatch_deadlines_rebuild(struct dispatch *dispatch, uint64_t now_ns)
{
	memset(dispatch->slots, 0, sizeof dispatch->slots);
	dispatch->slot_next = UINT64_MAX;
	for (uint32_t i = 0; i < dispatch->partition_count; ++i) {
		struct flight_map *flights = &dispatch->partitions[i].flights;

		for (size_t k = 0; k < flights->room; ++k)
			if (flights->slots[k].state == FLIGHT_OWNED)
				dispatch_deadlines_add(dispatch, &flights->slots[k], now_ns);
	}
}

// The first slot after `now` that has entries. Every slot up to `now` is empty.
void dispatch_deadlines_find_next(struct dispatch *dispatch, uint64_t now)
{
	for (uint64_t slot = now + 1; slot < now + DISPATCH_SLOTS; ++slot) {
		if (dispatch->slots[slot & (DISPATCH_SLOTS - 1)]) {
			dispatch->slot_next = slot;
			return;
		}
	}
	dispatch->slot_next = UINT64_MAX;
}

bool dispatch_deadlines_have_ended(const struct dispatch *dispatch, uint64_t now)
{
	bool any = false;

	for (uint64_t slot = dispatch->slot_next;
	     slot <= now && slot < dispatch->slot_next + DISPATCH_SLOTS; ++slot)
		any |= dispatch->slots[slot & (DISPATCH_SLOTS - 1)] > 0;
	return any;
}
