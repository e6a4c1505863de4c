// The dispatch engine from inside, for its parts: dispatch.c hands out, dispatch_held.c remembers
// what each consumer holds, dispatch_deadlines.c when deliveries end, dispatch_settle.c takes back
// what consumers settle, dispatch_reclaim.c what they do not.
#pragma once

#include "proxy/engine/dispatch.h"
#include "proxy/engine/flight.h"
#include "proxy/engine/suspects.h"

#define DISPATCH_SLOTS 128 // a power of two
#define DISPATCH_OUT   128

struct dispatch_partition {
	struct flight_map flights;
	uint64_t released_from; // the lowest released since pending ones were given back; or MAX
};

struct dispatch {
	struct dispatch_policy policy;
	const struct dispatch_ops *ops;
	void *ctx;

	struct list consumers, ready;
	size_t ready_count;
	uint64_t offer_messages, offer_bytes;                 // sums over the ready consumers
	uint64_t asked_messages, asked_bytes, asked_rejected; // what the source may still deliver
	size_t draining;                                      // consumers that wait for DRAINED
	uint64_t drain_look_ns; // when to look again whether something is ready for them

	struct dispatch_partition *partitions;
	uint32_t partition_count;
	uint32_t owned, dead_letters_pending, dead_letters_copying; // entries by state
	uint32_t suspects;           // messages that have the mark: entries, or the ids
	struct suspects suspect_ids; // policy.marks_by_id
	bool any_released;           // some partition's released_from is set

	struct delivery *pending; // a ring, each entry with a reference to its buffer
	size_t pending_head, pending_count, pending_room;
	uint64_t pending_bytes;

	// How many deadlines end in each slot of time; a slot's number is its end / slot_ns.
	uint32_t slots[DISPATCH_SLOTS];
	uint64_t slot_ns;
	uint64_t slot_now;  // every slot up to this one has passed
	uint64_t slot_next; // none before this one has an entry; UINT64_MAX: none at all

	uint64_t charge_again_ns; // the quota lets nothing pass before; 0: it does
	bool paused;

	struct settle out[DISPATCH_OUT]; // settles for the source, gathered by one call
	size_t out_count;
	struct dispatch_counters counters;
};

void dispatch_consumer_changed(struct dispatch *dispatch, struct dispatch_consumer *consumer);
void dispatch_give_back(struct dispatch *dispatch, const struct delivery *deliveries, size_t count);
// Only where marks go by id: the flight gets the id of its message, and the mark.
void dispatch_name(struct dispatch *dispatch, struct flight *flight,
		   const struct delivery *delivery);
void dispatch_run(struct dispatch *dispatch, uint64_t now_ns);
// Something was released: what waits here above it goes back to the source, too, so that it is not
// handed out before it.
void dispatch_give_back_above(struct dispatch *dispatch);
