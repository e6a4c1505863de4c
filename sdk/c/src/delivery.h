// Received messages: a delivery is one DELIVER frame with its messages, a subscription is one
// SUBSCRIBE on one link, through which they are settled.
#pragma once

#include "sdk/c/src/grants.h"
#include "sdk/c/src/link.h"
#include "sdk/c/src/message.h"
#include "sdk/c/src/settles.h"

#include <stdatomic.h>

struct mqp_consumer;

enum give_back { GIVE_NOTHING, GIVE_STUCK, GIVE_PAUSED, GIVE_LEFT };

// Kept by its consumer while its stream lives, and by every delivery that came over it.
struct subscription {
	struct list node; // consumer->subscriptions, under the consumer's lock
	atomic_uint refs;
	struct mqp_consumer *consumer; // referenced

	struct settles settles; // under the consumer's lock, as the next four
	struct hand_sub sub;    // what came, and what was told of it
	uint64_t held_messages; // received and not settled
	uint64_t held_bytes;
	bool owed; // credit is out: messages may still come

	struct stream stream; // I/O
	struct grants grants; // I/O
	bool left;            // I/O: another subscription has taken over
	bool credit_due;      // I/O: a CREDIT frame is to be sent in this round
	uint64_t drain_told;  // I/O: the number in the last one
	enum give_back give;  // I/O: why what waits is to be given back once credit is
	uint64_t give_begins; // I/O: so many had begun then
	uint64_t tick_ns;     // I/O: life was shown, and what was told extended
};

struct delivery {
	atomic_uint refs; // one for each message that is not freed
	struct buf *buf;
	struct subscription *subscription; // referenced
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
// The same in the open batch; under the consumer's lock. The caller wakes the I/O.
enum mqp_code delivery_settle(struct mqp_message *message, enum mqp_verb verb, uint32_t ms);
