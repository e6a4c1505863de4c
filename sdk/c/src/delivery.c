// A DELIVER frame as messages of the application, and settling them.
//
// One allocation holds all messages of a frame, and the frame's bytes stay where they were read: no
// copy and no allocation per message. The last message that is freed frees both.
//
// Invariants: subscription->held_messages counts its messages with settled == false while it is
// alive. A message is settled once; later calls answer CONFLICT. Functions that settle run under
// the consumer's lock. Not here: sending settles (settle_queue.c, consumer_report.c).

#include "sdk/c/src/delivery.h"

#include "core/base/util.h"
#include "core/wire/deliver.h"
#include "sdk/c/src/consumer.h"
#include "sdk/c/src/subscription.h"

#include <errno.h>

// ---- Subscriptions ---------------------------------------------------------------------------

// ---- Deliveries ------------------------------------------------------------------------------

// The payload was checked by deliver_check(). `refs` counts messages, so the last one that is freed
// frees the buffer and the reference to the subscription.
int delivery_new(struct subscription *subscription, struct buf *buf, const uint8_t *payload,
		 size_t size, uint64_t now_ns, struct delivery **ret)
{
	uint32_t count = le32_get(payload + 4), index = 0;
	struct deliver_entry entry;
	struct delivery *delivery;
	size_t cursor = 0;

	delivery = malloc(sizeof *delivery + count * sizeof(struct mqp_message));
	if (!delivery)
		return -ENOMEM;
	atomic_init(&delivery->refs, count);
	delivery->buf = buf_ref(buf);
	delivery->subscription = subscription_ref(subscription);
	delivery->partition = le32_get(payload);
	delivery->epoch = le64_get(payload + 8);
	delivery->count = count;
	while (index < count && deliver_next(payload, size, &cursor, &entry)) {
		struct mqp_message *message = &delivery->messages[index++];

		message_receive(message, delivery, entry.record);
		message->offset = entry.offset;
		message->stored_ms = entry.stored_ms;
		message->attempt = entry.attempt;
		message->item = (struct hand_item){.sub = &subscription->sub,
						   .number = subscription->sub.received + index,
						   .received_ns = now_ns,
						   .suspect = entry.flags & DELIVER_SUSPECT,
						   .last = entry.flags & DELIVER_LAST};
	}
	*ret = delivery;
	return 0;
}

void delivery_unref(struct delivery *delivery)
{
	if (atomic_fetch_sub(&delivery->refs, 1) != 1)
		return;
	buf_unref(delivery->buf);
	subscription_unref(delivery->subscription);
	free(delivery);
}

// A callback may have given the message to another thread, which is faster than the callback.
static void slots_forget(struct mqp_consumer *consumer, const struct mqp_message *message)
{
	for (uint32_t i = 0; consumer->slots && i < MAX(consumer->thread_count, 1u); ++i)
		if (consumer->slots[i].message == message)
			consumer->slots[i].message = NULL;
}

void delivery_free_message(struct mqp_message *message)
{
	struct delivery *delivery = message->delivery;
	struct mqp_consumer *consumer = delivery->subscription->consumer;

	pthread_mutex_lock(&consumer->lock);
	slots_forget(consumer, message);
	if (delivery_settle(message, MQP_RELEASE, 0) == MQP_OK)
		consumer_post(consumer);
	pthread_mutex_unlock(&consumer->lock);
	delivery_unref(delivery);
}

// ---- Settling --------------------------------------------------------------------------------

static void entry_of(const struct mqp_message *message, enum mqp_verb verb, uint32_t ms,
		     struct settle_entry *ret)
{
	*ret = (struct settle_entry){
		.epoch = message->delivery->epoch,
		.offset = message->offset,
		.partition = message->delivery->partition,
		.count = 1,
		.attempt = message->attempt,
		.ms = ms,
		.number = message->item.sub->tells ? (uint32_t)message->item.number : 0,
		.verb = (uint8_t)verb,
	};
}

// Under the consumer's lock. Extending does not settle, so it does not come here.
static void note_settled(struct mqp_message *message)
{
	struct subscription *subscription = message->delivery->subscription;

	message->settled = true;
	--subscription->held_messages;
	subscription->held_bytes -= message->size;
	atomic_fetch_sub(&subscription->consumer->hand.held, 1);
	barrier_settled(subscription->consumer->hand.barrier, &message->item);
}

enum mqp_code delivery_settle_into(struct mqp_message *message, enum mqp_verb verb, uint32_t ms,
				   struct settle_queue_batch *batch)
{
	struct settle_entry entry;

	if (message->settled)
		return MQP_CONFLICT;
	if (!message->item.sub->alive)
		return MQP_STALE;
	entry_of(message, verb, ms, &entry);
	if (settle_queue_add(batch, &entry) < 0)
		return MQP_NO_MEMORY;
	if (verb != MQP_EXTEND)
		note_settled(message);
	return MQP_OK;
}

enum mqp_code delivery_settle(struct mqp_message *message, enum mqp_verb verb, uint32_t ms)
{
	struct subscription *subscription = message->delivery->subscription;

	return delivery_settle_into(message, verb, ms, &subscription->settle_queue.open);
}

static enum mqp_code settle_one(struct mqp_message *message, enum mqp_verb verb, uint32_t ms)
{
	struct mqp_consumer *consumer;
	enum mqp_code code;

	if (!message || !message->delivery)
		return MQP_INVALID_ARGUMENT;
	consumer = message->delivery->subscription->consumer;
	pthread_mutex_lock(&consumer->lock);
	code = delivery_settle(message, verb, ms);
	if (code == MQP_OK)
		consumer_post(consumer);
	pthread_mutex_unlock(&consumer->lock);
	return code;
}

enum mqp_code mqp_ack(struct mqp_message *message)
{
	return settle_one(message, MQP_ACK, 0);
}

enum mqp_code mqp_nack(struct mqp_message *message, uint32_t delay_ms)
{
	return settle_one(message, MQP_NACK, delay_ms);
}

enum mqp_code mqp_extend(struct mqp_message *message, uint32_t for_ms)
{
	return for_ms ? settle_one(message, MQP_EXTEND, for_ms) : MQP_INVALID_ARGUMENT;
}

enum mqp_code mqp_reject(struct mqp_message *message)
{
	return settle_one(message, MQP_REJECT, 0);
}

enum mqp_code mqp_release(struct mqp_message *message)
{
	return settle_one(message, MQP_RELEASE, 0);
}
