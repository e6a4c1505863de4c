// Received messages: a delivery is one DELIVER frame with its messages.
#pragma once

#include "sdk/c/src/message.h"
#include "sdk/c/src/settle_queue.h"
#include "sdk/c/src/subscription.h"

#include <stdatomic.h>

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

// Notes one settle in a batch of its subscription's; under the consumer's lock. MQP_CONFLICT,
// MQP_STALE, MQP_NO_MEMORY.
enum mqp_code delivery_settle_into(struct mqp_message *message, enum mqp_verb verb, uint32_t ms,
				   struct settle_queue_batch *batch);
// The same in the open batch; under the consumer's lock. The caller wakes the I/O.
enum mqp_code delivery_settle(struct mqp_message *message, enum mqp_verb verb, uint32_t ms);
