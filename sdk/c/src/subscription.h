// A subscription is one SUBSCRIBE on one link, through which what came over it is settled.
#pragma once

#include "sdk/c/src/credit_totals.h"
#include "sdk/c/src/hand.h"
#include "sdk/c/src/link.h"
#include "sdk/c/src/settle_queue.h"

#include <stdatomic.h>

struct mqp_consumer;

enum give_back { GIVE_NOTHING, GIVE_STUCK, GIVE_PAUSED, GIVE_LEFT };

// Kept by its consumer while its stream lives, and by every delivery that came over it.
struct subscription {
	struct list node; // consumer->subscriptions, under the consumer's lock
	atomic_uint refs;
	struct mqp_consumer *consumer; // referenced

	struct settle_queue settle_queue; // under the consumer's lock, as the next four
	struct hand_sub sub;              // what came, and what was told of it
	uint64_t held_messages;           // received and not settled
	uint64_t held_bytes;
	bool owed; // credit is out: messages may still come

	struct stream stream;        // I/O
	struct credit_totals credit; // I/O
	bool left;                   // I/O: another subscription has taken over
	bool credit_due;             // I/O: a CREDIT frame is to be sent in this round
	uint64_t drain_told;         // I/O: the number in the last one
	enum give_back give;         // I/O: why what waits is to be given back once credit is
	uint64_t give_begins;        // I/O: number of deliveries that had begun then
	uint64_t tick_ns;            // I/O: life was shown, and what was told extended
};

int subscription_new(struct mqp_consumer *consumer, struct subscription **ret);
struct subscription *subscription_ref(struct subscription *subscription);
void subscription_unref(struct subscription *subscription);
bool subscription_is_open(const struct subscription *subscription);
