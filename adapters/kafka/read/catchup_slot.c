// Chooses the stream that serves a position: the first that will come there by itself, else the
// follower if the position is ahead of it, else a free slot, else one that may leave.
//
// Pure: the caller describes the streams and gives the time.

#include "adapters/kafka/read/catchup_slot.h"

static bool comes_by(const struct catchup_slot *slot, uint64_t offset)
{
	return slot->there && offset >= slot->next && offset - slot->next <= slot->near;
}

// Where it stands, another position may be read instead.
static bool slot_may_leave(const struct catchup_slot *slot, uint64_t now_ns)
{
	uint64_t last_ns = slot->used_ns > slot->since_ns ? slot->used_ns : slot->since_ns;

	if (!slot->waiting && now_ns >= last_ns + CATCHUP_SLOT_GAP_NS)
		return true;
	if (slot->served)
		return now_ns >= slot->since_ns + CATCHUP_SLOT_TURN_NS;
	// To put it elsewhere would not bring anything sooner, and no fetch would ever be served.
	last_ns = slot->throttled_ns > slot->since_ns ? slot->throttled_ns : slot->since_ns;
	return now_ns >= last_ns + CATCHUP_SLOT_DEAD_NS;
}

enum catchup_slot_verdict catchup_slot_choose(const struct catchup_slot *slots, size_t count,
					      uint64_t offset, uint64_t now_ns, size_t *ret_slot)
{
	for (size_t i = 0; i < count; ++i) {
		*ret_slot = i;
		if (comes_by(&slots[i], offset))
			return CATCHUP_SLOT_WAIT;
	}
	*ret_slot = 0;
	if (slots[0].there && offset > slots[0].next)
		return CATCHUP_SLOT_PUT;
	for (size_t i = 1; i < count; ++i) {
		*ret_slot = i;
		if (!slots[i].there && !slots[i].closed)
			return CATCHUP_SLOT_PUT;
	}
	for (size_t i = 1; i < count; ++i) {
		*ret_slot = i;
		if (slots[i].there && slot_may_leave(&slots[i], now_ns))
			return CATCHUP_SLOT_PUT;
	}
	return CATCHUP_SLOT_NONE;
}
