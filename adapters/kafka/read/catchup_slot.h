// Which of a partition's streams serves who asks for a position. Pure.
//
// A partition is read by the follower, which belongs to the furthest reader, and from one place on
// each lane. A lane is kept for who reads on where it stands; when others wait for it, only for
// LANE_GAP_NS between two requests, and for LANE_TURN_NS in all.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LANE_GAP_NS  (20ull * 1000 * 1000)
#define LANE_TURN_NS (100ull * 1000 * 1000)
#define LANE_DEAD_NS (3000ull * 1000 * 1000) // a lane that brought nothing all this time

// One of the streams of a partition; [0] of them is the follower.
struct lane {
	bool there;            // it is being read
	bool closed;           // it is not, and cannot be now
	bool served;           // it has answered somebody since it was put to its place
	uint32_t waiting;      // who waits for it
	uint64_t next;         // the position it reads next
	uint64_t near;         // who is at most so many positions ahead of it waits for it to come
	uint64_t since_ns;     // when it was put there
	uint64_t used_ns;      // when it last answered
	uint64_t throttled_ns; // until then it may bring nothing because of a quota
};

enum lane_verdict {
	LANE_WAIT, // for *ret_lane, which will come there
	LANE_PUT,  // *ret_lane is to be put there
	LANE_NONE, // all of them are taken
};

enum lane_verdict lane_choose(const struct lane *lanes, size_t count, uint64_t offset,
			      uint64_t now_ns, size_t *ret_lane);
bool lane_may_leave(const struct lane *lane, uint64_t now_ns); // where it stands
