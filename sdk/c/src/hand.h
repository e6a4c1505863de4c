// What lies in a consumer's hand: deliveries that are received and wait, in their order; how far
// their begin was told; what may begin next; how many are worth holding. Pure but for the barrier.
//
// Under its owner's lock, except what says otherwise.
#pragma once

#include "sdk/c/src/barrier.h"

#include <stddef.h>

#define HAND_SHORT    1000000ull // callbacks that take less on average are told ahead, ns
#define HAND_AHEAD_NS 1000000ull // work that may be told ahead,
#define HAND_LEAD_MIN 64u        // but at least this number of deliveries
#define HAND_LEAD_MAX 1024u      // and at most this one

// What was told over one subscription. Deliveries are numbered from 1 as they come.
struct hand_sub {
	uint64_t received; // number of the last delivery
	uint64_t want;     // `begun` should become this much,
	uint64_t telling;  // is on its way to the socket,
	uint64_t told;     // is in the socket
	uint64_t visibility_ns;
	bool tells; // the feature BEGUN is in use
	bool alive; // what came over it can be settled
};

struct hand_item {
	struct hand_item *next;
	struct hand_sub *sub;
	uint64_t number;
	uint64_t received_ns;
	bool suspect; // a consumer was lost while it worked on it
	bool last;    // its last attempt
	bool beside;  // has waited long enough to go as if it were no suspect
};

struct hand {
	struct barrier *barrier;
	struct list in_barrier;
	void (*wake)(struct hand *hand); // look again; any thread, with the barrier's lock held

	struct hand_item *first, *last;
	atomic_uint running;       // callbacks that run and do not hang; any thread
	atomic_uint_fast64_t held; // received and not settled; any thread reads
	atomic_uint_fast64_t queued;
	uint32_t workers;
	uint64_t window_max;
	bool window_fixed;
	struct hand_item *planned; // it and all before it are to be told, or are told
	uint32_t ahead;            // how many these are; 0: `planned` is NULL
	uint32_t lead;             // how many they may be
	uint64_t average_ns;       // of callbacks; 0: none has ended
	uint64_t begins;           // number that have begun
	uint64_t begun_ns;         // when the last of them began
};

void hand_init(struct hand *hand, struct barrier *barrier, void (*wake)(struct hand *hand),
	       uint32_t workers);
uint64_t hand_kept(const struct hand *hand); // by the application; any thread

void hand_add(struct hand *hand, struct hand_item *item);
// Takes the first away, or the first of a subscription. NULL: there is none.
struct hand_item *hand_pop(struct hand *hand);
struct hand_item *hand_remove(struct hand *hand, const struct hand_sub *sub);
void hand_take_behind(struct hand *hand, struct hand_item *item); // the next, or the first (NULL)

// How far is to be told? Sets `want` of the subscriptions of what may begin next.
void hand_plan(struct hand *hand, uint64_t now_ns);
// Is a frame with the new number worth sending now?
bool hand_due(const struct hand *hand, const struct hand_sub *sub);
// The number of settles that are worth a frame while others are on their way.
uint32_t hand_report_at(const struct hand *hand);
void hand_telling(struct hand_sub *sub);                    // the frame has been made
void hand_written(struct hand *hand, struct hand_sub *sub); // it is in the socket

// Push: the next delivery begins. NULL: none may; the owner is woken, or has to plan and tell.
struct hand_item *hand_begin(struct hand *hand, uint64_t now_ns, uint64_t limit_ns);
bool hand_can_begin(const struct hand *hand); // the first is told
// A callback has ended; its delivery may be gone, and its subscription.
void hand_end(struct hand *hand, const struct hand_sub *sub, uint64_t number, bool hangs,
	      uint64_t took_ns);
// Pull: how many of the first may be handed out together, and sets `want` for them. 0: not yet.
size_t hand_plan_pull(struct hand *hand, size_t max, uint64_t now_ns);
// Are these told, and may they begin now?
bool hand_pull(struct hand *hand, size_t count, uint64_t now_ns, uint64_t limit_ns);

// How many messages are worth holding; `oldest_ns`: when the oldest running callback began, 0: none
// runs.
uint64_t hand_window(const struct hand *hand, uint64_t oldest_ns, uint64_t now_ns);
// Nothing has begun for half of the visibility timeout while something waits: from then on.
uint64_t hand_stuck_ns(const struct hand *hand);
