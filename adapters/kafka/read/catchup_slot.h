// Which of a partition's streams serves a fetch. Pure.
//
// A partition is read by the follower, which belongs to the furthest reader, and from one position
// in each catch-up slot. A slot is kept for the reader that reads on where it stands; when others
// wait for it, only for CATCHUP_SLOT_GAP_NS between two requests, and for CATCHUP_SLOT_TURN_NS in
// all.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CATCHUP_SLOT_GAP_NS  (20ull * 1000 * 1000)
#define CATCHUP_SLOT_TURN_NS (100ull * 1000 * 1000)
#define CATCHUP_SLOT_DEAD_NS (3000ull * 1000 * 1000) // a slot that brought nothing all this time

// One of the streams of a partition; [0] of them is the follower.
struct catchup_slot {
	bool there;            // it is being read
	bool closed;           // it is not, and cannot be now
	bool served;           // it has answered a fetch since it was put to its place
	uint32_t waiting;      // readers that wait for it
	uint64_t next;         // the position it reads next
	uint64_t near;         // a reader at most that many positions ahead waits for it to come
	uint64_t since_ns;     // when it was put there
	uint64_t used_ns;      // when it last answered
	uint64_t throttled_ns; // until then it may bring nothing because of a quota
};

enum catchup_slot_verdict {
	CATCHUP_SLOT_WAIT, // for *ret_slot, which will come there
	CATCHUP_SLOT_PUT,  // *ret_slot is to be put there
	CATCHUP_SLOT_NONE, // all of them are taken
};

enum catchup_slot_verdict catchup_slot_choose(const struct catchup_slot *slots, size_t count,
					      uint64_t offset, uint64_t now_ns, size_t *ret_slot);
