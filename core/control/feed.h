// The side of a control link that is followed: what goes to one follower next.
//
// A pure state machine: time is an argument, the caller sends. For one thread.
#pragma once

#include "core/control/history.h"

struct feed {
	uint32_t turn;           // of the follower's latest request
	bool on;                 // it wants to be fed
	bool full;               // with a full copy first
	struct link_position at; // what it holds once it has taken all that was sent
	struct history_change *sending;
	size_t sent;               // bytes of it
	struct link_position told; // with the latest FEED_CURRENT
	uint64_t told_ns;          // 0: never
};

enum feed_step {
	FEED_IDLE,    // nothing to send
	FEED_SLICE,   // send `slice`
	FEED_CURRENT, // send that `at` is all there is
	FEED_FULL,    // give the history a full copy, and ask again
};

struct feed_slice {
	uint32_t turn;
	uint64_t total, offset;
	const uint8_t *data; // until the next call on this feed
	size_t size;
};

void feed_init(struct feed *feed);
void feed_deinit(struct feed *feed);

// The follower holds `position` (revision 0: nothing) and is to be fed from there, or with a full
// copy that does not take it back.
void feed_follow(struct feed *feed, uint32_t turn, struct link_position position, bool full);
// It follows another link; it still hears what is the newest position here.
void feed_stop(struct feed *feed, uint32_t turn);

// Call until it answers FEED_IDLE, and again after each change of the history, when there is room
// for another slice, and once a second. `most`: largest size of a slice.
enum feed_step feed_next(struct feed *feed, const struct history *history, uint64_t now_ns,
			 size_t most, struct feed_slice *ret);
