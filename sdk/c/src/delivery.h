// Received messages: a delivery is one DELIVER frame with its messages, a subscription is one
// SUBSCRIBE on one link, through which they are settled.
#pragma once

#include "sdk/c/src/grants.h"
#include "sdk/c/src/link.h"
#include "sdk/c/src/message.h"
#include "sdk/c/src/settles.h"

#include <stdatomic.h>

struct mqp_consumer;

// Kept by its consumer while its stream lives, and by every delivery that came over it.
struct subscription {
	struct list node; // consumer->subscriptions, under the consumer's lock
	atomic_uint refs;
	struct mqp_consumer *consumer; // referenced

	struct settles settles; // under the consumer's lock, as the next five
	uint64_t held_messages; // received and not settled
	uint64_t held_bytes;
	uint32_t visibility_ms;
	bool alive; // its stream is open: settles have somewhere to go
	bool owed;  // credit is out: messages may still come

	struct stream stream; // I/O
	struct grants grants; // I/O
	bool left;            // I/O: another subscription has taken over
};

struct delivery {
	atomic_uint refs; // one for each message that is not freed
	struct buf *buf;
	struct subscription *subscription; // referenced
	uint64_t received_ns;
	uint64_t epoch;
	uint32_t partition;
	uint32_t count;
	struct mqp_message messages[];
};

// Takes a checked DELIVER payload apart; the messages are in order. -ENOMEM.
int delivery_new(struct subscription *subscription, struct buf *buf, const uint8_t *payload,
		 size_t size, uint64_t now_ns, struct delivery **ret);
void delivery_unref(struct delivery *delivery);
void delivery_free_message(struct mqp_message *message); // for mqp_message_free

int subscription_new(struct mqp_consumer *consumer, struct subscription **ret);
struct subscription *subscription_ref(struct subscription *subscription);
void subscription_unref(struct subscription *subscription);

// Notes one settle in a batch of its subscription's; under the consumer's lock. MQP_CONFLICT,
// MQP_STALE, MQP_NO_MEMORY.
enum mqp_code delivery_settle_into(struct mqp_message *message, enum mqp_verb verb, uint32_t ms,
				   struct settles_batch *batch);
// The same in the open batch, and wakes the I/O; under the consumer's lock.
enum mqp_code delivery_settle(struct mqp_message *message, enum mqp_verb verb, uint32_t ms);
