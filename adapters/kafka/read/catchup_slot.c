#include "adapters/kafka/read/catchup_slot.h"

static bool comes_by(const struct lane *lane, uint64_t offset)
{
	return lane->there && offset >= lane->next && offset - lane->next <= lane->near;
}

bool lane_may_leave(const struct lane *lane, uint64_t now_ns)
{
	uint64_t last_ns = lane->used_ns > lane->since_ns ? lane->used_ns : lane->since_ns;

	if (!lane->waiting && now_ns >= last_ns + LANE_GAP_NS)
		return true;
	if (lane->served)
		return now_ns >= lane->since_ns + LANE_TURN_NS;
	// To put it elsewhere would not bring anything sooner, and nobody would ever be served.
	last_ns = lane->throttled_ns > lane->since_ns ? lane->throttled_ns : lane->since_ns;
	return now_ns >= last_ns + LANE_DEAD_NS;
}

enum lane_verdict lane_choose(const struct lane *lanes, size_t count, uint64_t offset,
			      uint64_t now_ns, size_t *ret_lane)
{
	for (size_t i = 0; i < count; ++i) {
		*ret_lane = i;
		if (comes_by(&lanes[i], offset))
			return LANE_WAIT;
	}
	*ret_lane = 0;
	if (lanes[0].there && offset > lanes[0].next)
		return LANE_PUT;
	for (size_t i = 1; i < count; ++i) {
		*ret_lane = i;
		if (!lanes[i].there && !lanes[i].closed)
			return LANE_PUT;
	}
	for (size_t i = 1; i < count; ++i) {
		*ret_lane = i;
		if (lanes[i].there && lane_may_leave(&lanes[i], now_ns))
			return LANE_PUT;
	}
	return LANE_NONE;
}
