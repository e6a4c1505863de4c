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
	bool blocked; // the next message is larger than what is left of its bytes
};

struct dispatch_counters {
	uint64_t delivered_messages, delivered_bytes, redelivered, acked, nacked, rejected,
		released, timeouts, dead;
};

struct dispatch_ops {
	// The consumer's share. Whoever keeps a record beyond the call takes a reference.
	void (*deliver)(void *ctx, struct dispatch_consumer *consumer,
			const struct delivery *deliveries, size_t count);
	void (*drained)(void *ctx, struct dispatch_consumer *consumer, uint64_t number);
	// For the source. With a request: one notice when all of them are durable.
	void (*settle)(void *ctx, struct settle *settles, size_t count, void *request);
	void (*demand)(void *ctx, uint32_t messages, uint64_t bytes, uint32_t rejected);
	// Copy it to the dead-letter topic, then dispatch_buried().
	void (*bury)(void *ctx, const struct delivery *delivery, enum dispatch_reason reason,
		     uint32_t attempts);
	// One rejected message of the request is done with: its ACK has gone to the source, or it
	// was lost because the source was reopened.
	void (*unhold)(void *ctx, void *request, bool lost);
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
uint32_t dispatch_in_flight(const struct dispatch *dispatch); // handed out and not settled

// Positive DISPATCH_E_IN_USE: an exclusive group has its consumer.
enum { DISPATCH_E_IN_USE = 1 };
int dispatch_join(struct dispatch *dispatch, struct dispatch_consumer *consumer);
void dispatch_leave(struct dispatch *dispatch, struct dispatch_consumer *consumer, uint64_t now_ns);

// Totals never fall. A drain number above the one before asks for what is ready, then gives the
// rest of the credit back.
void dispatch_credit(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		     uint64_t messages, uint64_t bytes, uint64_t drain, uint64_t now_ns);

// The consumer gets nothing more; what it holds it may still settle.
void dispatch_stop(struct dispatch *dispatch, struct dispatch_consumer *consumer, uint64_t now_ns);

void dispatch_arrived(struct dispatch *dispatch, const struct delivery *deliveries, size_t count,
		      uint64_t now_ns);

// Fills code and settled of each entry. Returns how many messages were rejected: each holds
// the request until ops->unhold().
size_t dispatch_settle(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		       struct settle *settles, size_t count, void *request, uint64_t now_ns);
void dispatch_buried(struct dispatch *dispatch, uint32_t partition, uint64_t offset,
		     uint64_t now_ns);

// Hands out nothing more until it is resumed; settles go on.
void dispatch_pause(struct dispatch *dispatch, bool paused, uint64_t now_ns);
// The source was closed: nothing is in flight or pending any more; old receipts are stale.
void dispatch_reset(struct dispatch *dispatch);

// Timeouts and waits that are over.
void dispatch_tick(struct dispatch *dispatch, uint64_t now_ns);
uint64_t dispatch_next_ns(const struct dispatch *dispatch); // when to tick; UINT64_MAX: no need
