// The side of control links that follows: which link, from which position, and what to do with what
// comes.
//
// A pure state machine: time is an argument, the caller sends, and applies changes to the catalog.
// For one thread.
#pragma once

#include "core/control/history.h"

#define FOLLOWER_LINKS 16u
#define FOLLOWER_NONE  FOLLOWER_LINKS

struct follower_link {
	bool up, portal;
	struct link_position offers; // the newest position there; revision 0: not heard yet
};

// LINK_FOLLOW: to be sent on a link.
struct follower_request {
	unsigned link;
	bool stop; // this link is not followed any more
	bool full; // a full copy first
	uint32_t turn;
	struct link_position position; // what is held
};

struct follower {
	struct link_position holds; // what the catalog has
	struct follower_link links[FOLLOWER_LINKS];
	unsigned from;         // the link that is followed; FOLLOWER_NONE
	uint32_t turn;         // of the request that it was sent last
	bool wants_full;       // ask for a full copy
	bool waits;            // a request is under way: nothing of its turn has come yet
	bool request_due;      // for `from`
	unsigned stop_due;     // for this link; FOLLOWER_NONE
	uint64_t confirmed_ns; // when `holds` was last known to be the portal's newest; 0: never
	uint8_t *data;         // the change that is gathered
	size_t got, room;
	uint64_t total; // 0: none
};

struct follower_slice {
	uint32_t turn;
	uint64_t total, offset;
	const uint8_t *data;
	size_t size;
};

struct follower_offer {
	uint32_t turn;
	struct link_position position;
	uint64_t age_ns; // since the other side knew that it was the portal's newest
};

void follower_init(struct follower *follower, struct link_position holds);
void follower_deinit(struct follower *follower);

void follower_up(struct follower *follower, unsigned link, bool portal);
void follower_down(struct follower *follower, unsigned link);

// What to send next, if anything. Ask after every other call, until it answers false.
bool follower_next(struct follower *follower, struct follower_request *ret);

// LINK_CURRENT and LINK_SLICE have come. A slice may complete a change: FOLLOWER_CHANGE, and
// `data`, `total` are to be judged. -EPROTO: no feed sends this; close the link. -ENOMEM.
enum { FOLLOWER_CHANGE = 1 };
void follower_offered(struct follower *follower, unsigned link, const struct follower_offer *offer,
		      uint64_t now_ns);
int follower_slice(struct follower *follower, unsigned link, const struct follower_slice *slice);

// What to do with the change that is complete. After FOLLOWER_APPLY call follower_applied() or
// follower_refused(); the others need nothing.
enum follower_verdict {
	FOLLOWER_APPLY,
	FOLLOWER_PASS, // it would go back, or to another source by a peer's word
	FOLLOWER_GAP,  // it does not continue what is held: a full copy is asked for
};
enum follower_verdict follower_judge(struct follower *follower);
void follower_applied(struct follower *follower);
// The catalog did not take it: a delta is followed by a full copy. True: it was a full copy, and
// the link is of no use; close it.
bool follower_refused(struct follower *follower);
