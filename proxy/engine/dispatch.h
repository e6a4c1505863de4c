// Which consumer of a group gets a message, and what becomes of it: a pure engine, no clock, socket
// or thread.
//
// Events and the time go in through the functions, actions come out through the ops. An op may not
// call back into the engine. One group is one engine.
#pragma once

#include "adapters/adapter.h"
#include "core/base/list.h"

struct dispatch;

#define DISPATCH_EXTEND_MAX_MS (12u * 3600 * 1000) // an extension reaches no further

enum dispatch_reason {
	DISPATCH_ATTEMPTS, // the last attempt was not acked
	DISPATCH_REJECTED, // the consumer said so
	DISPATCH_REASON_COUNT
};

struct dispatch_policy {
	uint64_t visibility_ns;
	uint32_t max_attempts; // 0: unlimited
	uint32_t retry_delay_ms, retry_delay_max_ms;
	uint32_t in_flight_max;
	uint8_t mode;     // enum group_mode: SHARED, EXCLUSIVE (one consumer), FAILOVER (the oldest
			  // one)
	bool dead_letter; // there is a dead-letter topic
	bool marks_by_id; // a message comes again under another offset: it is known by its id
};

// A consumer that tells what it begins: what it said, by when. One entry for all of a sixteenth of
// the visibility timeout; all entries reach back one visibility timeout.
#define DISPATCH_TOLD 18
struct dispatch_told {
	uint64_t begun;
	uint64_t first_ns, last_ns; // of what the entry stands for
};

// What a consumer was given and may still hold (dispatch_held.c).
struct dispatch_given {
	uint64_t offset, number;
	uint32_t partition;
};

struct dispatch_held {
	struct dispatch_given *given;
	uint32_t count, room;
	bool incomplete; // there was no memory for an entry
};

// Why a consumer leaves, and so what becomes of what it held.
enum dispatch_leave {
	DISPATCH_LOST,  // by its own doing or the network's: it may have died of what had begun
	DISPATCH_ENDED, // by ours: nothing counts
};

// Embedded in its owner. Totals count since it was added.
struct dispatch_consumer {
	struct list all, ready; // members of the engine's lists
	uint64_t credit_messages, credit_bytes;
	uint64_t given_messages, given_bytes;
	uint64_t drain, drained; // drain number asked for, answered
	uint32_t in_flight;
	uint64_t drain_until_ns;              // answered then at the latest
	uint64_t offer_messages, offer_bytes; // its part of the group's demand
	bool blocked;     // the next message has to wait until it holds nothing: for its size, or
			  // because it is a suspect and the consumer does not tell what it begins
	bool tells_begun; // else all that was delivered counts as begun
	bool alone;       // holds a suspect and gets nothing beside it
	bool silent;      // given up; its owner has been told
	uint64_t begun;   // deliveries up to this number may have begun; they are numbered from 1
	uint64_t last_active_ns; // the last frame of the subscription
	uint32_t told_at;        // the newest of
	struct dispatch_told told[DISPATCH_TOLD];
	struct dispatch_held held;
};

struct dispatch_counters {
	uint64_t delivered_messages, delivered_bytes, redelivered, acked, nacked, rejected,
		released, timeouts, lost, dead;
};

enum { DISPATCH_FLAG_SUSPECT = 1, DISPATCH_FLAG_LAST = 2 }; // the bits of the wire

struct dispatch_ops {
	// The consumer's share. A callee that keeps a record beyond the call takes a reference.
	// `flags` are those of each of them.
	void (*deliver)(void *ctx, struct dispatch_consumer *consumer,
			const struct delivery *deliveries, size_t count, uint32_t flags);
	// Nothing was heard of it for too long: it holds nothing any more and gets nothing. Its
	// owner lets it leave soon.
	void (*silent)(void *ctx, struct dispatch_consumer *consumer);
	void (*drained)(void *ctx, struct dispatch_consumer *consumer, uint64_t number);
	// For the source. With a request: one notice when all of them are durable.
	void (*settle)(void *ctx, struct settle *settles, size_t count, void *request);
	void (*demand)(void *ctx, uint32_t messages, uint64_t bytes, uint32_t rejected);
	// Copy it to the dead-letter topic, then dispatch_dead_letter_copied().
	void (*copy_dead_letter)(void *ctx, const struct delivery *delivery,
				 enum dispatch_reason reason, uint32_t attempts);
	// One rejected message of the request is done with: it has ended as dead at the source, or
	// it was lost because the source was reopened, or has lost it.
	void (*release_request)(void *ctx, void *request, bool lost);
	// It holds nothing any more, by whatever has taken it. Not told of a reset, nor when
	// the source has lost everything. May be NULL.
	void (*emptied)(void *ctx, struct dispatch_consumer *consumer);
	// How many of the deliveries the consume quota lets pass now (and charges); with fewer than
	// count, when to ask again.
	size_t (*charge)(void *ctx, const struct delivery *deliveries, size_t count,
			 uint64_t now_ns, uint64_t *ret_retry_ns);
	uint64_t (*ready)(
		void *ctx); // messages the source could deliver; UINT64_MAX: not known yet
};

int dispatch_new(const struct dispatch_policy *policy, const struct dispatch_ops *ops, void *ctx,
		 struct dispatch **ret);
void dispatch_free(struct dispatch *dispatch); // no consumers left

void dispatch_set_policy(struct dispatch *dispatch, const struct dispatch_policy *policy);
const struct dispatch_counters *dispatch_counters(const struct dispatch *dispatch);
uint32_t dispatch_in_flight(const struct dispatch *dispatch);     // handed out and not settled
uint64_t dispatch_pending_bytes(const struct dispatch *dispatch); // wait to be handed out
// What waits goes back to the source, which is asked again at that time.
void dispatch_give_pending_back(struct dispatch *dispatch, uint64_t again_ns);

// Positive DISPATCH_E_IN_USE: an exclusive group has its consumer.
enum { DISPATCH_E_IN_USE = 1 };
int dispatch_join(struct dispatch *dispatch, struct dispatch_consumer *consumer, bool tells_begun,
		  uint64_t now_ns);
void dispatch_leave(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		    enum dispatch_leave why, uint64_t now_ns);

// A frame of the consumer's subscription: it lives, and up to `begun` deliveries may have begun.
// The number is not above what it was given; a lower one than before says nothing.
void dispatch_heartbeat(struct dispatch *dispatch, struct dispatch_consumer *consumer,
			uint64_t begun, uint64_t now_ns);

// Totals never fall. A drain number above the one before asks for what is ready, then gives the
// rest of the credit back.
void dispatch_credit(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		     uint64_t messages, uint64_t bytes, uint64_t drain, uint64_t now_ns);

// The consumer gets nothing more; what it holds it may still settle.
void dispatch_stop(struct dispatch *dispatch, struct dispatch_consumer *consumer, uint64_t now_ns);

void dispatch_arrived(struct dispatch *dispatch, const struct delivery *deliveries, size_t count,
		      uint64_t now_ns);

// Fills code and settled of each entry. Returns how many messages were rejected: each holds
// the request until ops->release_request().
size_t dispatch_settle(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		       struct settle *settles, size_t count, void *request, uint64_t now_ns);
// By the epoch of its delivery: of an earlier one it changes nothing.
void dispatch_dead_letter_copied(struct dispatch *dispatch, uint64_t epoch, uint32_t partition,
				 uint64_t offset, uint64_t now_ns);

uint32_t dispatch_suspects(const struct dispatch *dispatch); // messages that have the mark
// The log has deleted everything of the partition below `first`, and nothing of it waits elsewhere.
void dispatch_gone(struct dispatch *dispatch, uint32_t partition, uint64_t first);

// Hands out nothing more until it is resumed; settles go on.
void dispatch_pause(struct dispatch *dispatch, bool paused, uint64_t now_ns);
// The source was closed: nothing is in flight or pending any more; old receipts are stale.
void dispatch_reset(struct dispatch *dispatch);
// The source stays, but all that it handed out comes again from it, under other offsets: as
// dispatch_reset(), and what was demanded and has not come is still to come. Consumers keep their
// credit; nothing counts as lost.
void dispatch_source_lost(struct dispatch *dispatch, uint64_t now_ns);

// Timeouts and waits that are over.
void dispatch_tick(struct dispatch *dispatch, uint64_t now_ns);
uint64_t dispatch_next_ns(const struct dispatch *dispatch); // when to tick; UINT64_MAX: no need
