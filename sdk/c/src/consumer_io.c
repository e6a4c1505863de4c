// The I/O side of a consumer: subscribes on the link in use, gives credit, takes deliveries, sends
// settles, extends and releases what time asks for, and leaves when asked to.
//
// All of it runs on the I/O thread. A subscription that was left (GOAWAY, changed credentials)
// lives on beside the current one until everything that came over it is settled.

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "core/wire/deliver.h"
#include "core/wire/fields.h"
#include "core/wire/frame.h"
#include "sdk/c/src/consumer.h"
#include "sdk/c/src/json.h"

#include <errno.h>

#define REOPEN_MIN_MS    100u
#define REOPEN_MAX_MS    2000u
#define VISIBILITY_GUESS 30000u // until SUBSCRIBED tells
#define SETTLE_ENTRIES   4096u  // of one frame, at most

static const struct stream_ops subscription_ops;

static struct subscription *subscription_of(struct stream *stream)
{
	return CONTAINER_OF(stream, struct subscription, stream);
}

void consumer_post(struct mqp_consumer *consumer)
{
	if (!consumer->detached)
		client_post(consumer->client, &consumer->member.work);
}

// Later in this round.
static void consumer_wake(struct mqp_consumer *consumer)
{
	pthread_mutex_lock(&consumer->lock);
	consumer_post(consumer);
	pthread_mutex_unlock(&consumer->lock);
}

static bool consumer_pushes(const struct mqp_consumer *consumer)
{
	return consumer->config.callback != NULL;
}

// Under the lock.
static void consumer_changed(struct mqp_consumer *consumer)
{
	client_count(consumer->client, MQP_STAT_IN_HAND,
		     consumer->in_hand - consumer->counted_in_hand);
	consumer->counted_in_hand = consumer->in_hand;
	pthread_cond_broadcast(&consumer->changed);
}

static void consumer_set_open(struct mqp_consumer *consumer, bool open, enum mqp_code status)
{
	pthread_mutex_lock(&consumer->lock);
	consumer->open = open;
	consumer->status = status;
	consumer_changed(consumer);
	pthread_mutex_unlock(&consumer->lock);
}

// ---- Credit ----------------------------------------------------------------------------------

// Lets those who close know whether messages may still come.
static void credit_note(struct subscription *subscription)
{
	struct mqp_consumer *consumer = subscription->consumer;
	const struct grants *grants = &subscription->grants;

	pthread_mutex_lock(&consumer->lock);
	subscription->owed =
		grants->draining || grants->granted_messages > grants->delivered_messages;
	consumer_changed(consumer);
	pthread_mutex_unlock(&consumer->lock);
}

static void credit_send(struct subscription *subscription)
{
	const struct grants *grants = &subscription->grants;
	struct credit credit = {
		.messages = grants->granted_messages,
		.bytes = grants->granted_bytes,
		.drain = grants->drain,
	};
	uint8_t payload[CREDIT_SIZE];

	credit_write(payload, false, &credit);
	link_send(subscription->stream.link, FRAME_CREDIT, subscription->stream.id, payload,
		  sizeof payload);
	credit_note(subscription);
}

static bool stream_open(const struct subscription *subscription)
{
	return subscription && subscription->stream.link && subscription->stream.open;
}

// Gives back what is granted and not used.
static void credit_return(struct subscription *subscription)
{
	struct grants *grants = &subscription->grants;

	if (!stream_open(subscription) || grants->draining ||
	    grants->granted_messages == grants->delivered_messages)
		return;
	grants_drain(grants);
	credit_send(subscription);
}

static void push_credit(struct mqp_consumer *consumer)
{
	struct subscription *subscription = consumer->current;
	uint64_t messages, bytes;
	bool stop;

	if (!stream_open(subscription))
		return;
	pthread_mutex_lock(&consumer->lock);
	messages = subscription->held_messages;
	bytes = subscription->held_bytes;
	stop = consumer->paused || consumer->closing;
	pthread_mutex_unlock(&consumer->lock);
	if (stop)
		credit_return(subscription);
	else if (grants_top_up(&subscription->grants, consumer->config.prefetch_messages,
			       consumer->config.prefetch_bytes, messages, bytes))
		credit_send(subscription);
}

// ---- Pull ------------------------------------------------------------------------------------

static void pull_set(struct mqp_consumer *consumer, enum pull_phase phase, enum mqp_code code)
{
	pthread_mutex_lock(&consumer->lock);
	consumer->phase = phase;
	consumer->pull_code = code;
	if (phase == PULL_DONE)
		consumer_changed(consumer);
	pthread_mutex_unlock(&consumer->lock);
}

static void pull_ask(struct mqp_consumer *consumer, bool drain, enum pull_phase phase)
{
	struct subscription *subscription = consumer->current;

	grants_ask(&subscription->grants, consumer->pull_max, consumer->config.prefetch_bytes);
	if (drain)
		grants_drain(&subscription->grants);
	credit_send(subscription);
	pull_set(consumer, phase, MQP_TIMEOUT);
}

// There is no subscription to pull from: waits for one, unless the service refuses it for good.
static void pull_without_stream(struct mqp_consumer *consumer)
{
	enum mqp_code code;

	pthread_mutex_lock(&consumer->lock);
	code = consumer->closing ? MQP_CLOSED : consumer->status;
	pthread_mutex_unlock(&consumer->lock);
	if (code != MQP_OK && !mqp_code_retriable(code))
		pull_set(consumer, PULL_DONE, code);
}

// The caller has left.
static void pull_finish(struct mqp_consumer *consumer, enum pull_phase phase)
{
	struct subscription *subscription = consumer->current;

	if (stream_open(subscription) && phase == PULL_LEFT)
		credit_return(subscription);
	else if (stream_open(subscription) && !subscription->grants.draining)
		pull_ask(consumer, true, PULL_NONE);
	pull_set(consumer, PULL_NONE, MQP_TIMEOUT);
}

static void pull_step(struct mqp_consumer *consumer)
{
	enum pull_phase phase;
	bool late, got, closing;

	pthread_mutex_lock(&consumer->lock);
	phase = consumer->phase;
	got = consumer->queued > 0;
	closing = consumer->closing;
	late = consumer->client->now_ns >= consumer->pull_return_ns;
	pthread_mutex_unlock(&consumer->lock);
	if (phase == PULL_NONE || phase == PULL_DONE)
		return;
	if (phase == PULL_LEFT || phase == PULL_LEFT_UNASKED) {
		pull_finish(consumer, phase);
	} else if (!stream_open(consumer->current)) {
		if (got)
			pull_set(consumer, PULL_DONE, MQP_TIMEOUT);
		else
			pull_without_stream(consumer);
	} else if (closing) {
		credit_return(consumer->current);
		pull_set(consumer, PULL_DONE, MQP_CLOSED);
	} else if (phase == PULL_START && !consumer->current->grants.draining) {
		pull_ask(consumer, true, PULL_ASKED);
	} else if (phase == PULL_WAITING && (got || late)) {
		credit_return(consumer->current);
		pull_set(consumer, consumer->current->grants.draining ? PULL_DRAINING : PULL_DONE,
			 MQP_TIMEOUT);
	}
}

// DRAINED has come: everything that was ready is here.
static void pull_drained(struct mqp_consumer *consumer, struct subscription *subscription)
{
	enum pull_phase phase;
	bool got, late;

	pthread_mutex_lock(&consumer->lock);
	phase = consumer->phase;
	got = consumer->queued > 0;
	late = consumer->client->now_ns >= consumer->pull_return_ns;
	pthread_mutex_unlock(&consumer->lock);
	// Late and with nothing to hand over, the caller leaves at its deadline.
	if ((phase == PULL_ASKED || phase == PULL_DRAINING) && got)
		pull_set(consumer, PULL_DONE, MQP_TIMEOUT);
	else if (phase == PULL_ASKED && !late && subscription == consumer->current)
		pull_ask(consumer, false, PULL_WAITING);
	else
		pull_step(consumer);
}

// The subscription that was asked is gone; the next one is asked anew.
static void pull_restart(struct mqp_consumer *consumer)
{
	pthread_mutex_lock(&consumer->lock);
	if (consumer->phase == PULL_LEFT || consumer->phase == PULL_LEFT_UNASKED)
		consumer->phase = PULL_NONE;
	else if (consumer->phase != PULL_NONE && consumer->phase != PULL_DONE)
		consumer->phase = PULL_START;
	pthread_mutex_unlock(&consumer->lock);
}

static void pull_cut(struct mqp_consumer *consumer)
{
	pthread_mutex_lock(&consumer->lock);
	if (consumer->phase == PULL_LEFT || consumer->phase == PULL_LEFT_UNASKED) {
		consumer->phase = PULL_NONE;
	} else if (consumer->phase != PULL_NONE && consumer->phase != PULL_DONE) {
		consumer->phase = PULL_DONE;
		consumer->pull_code = MQP_CLOSED;
	}
	pthread_mutex_unlock(&consumer->lock);
}

// ---- Settles ---------------------------------------------------------------------------------

static void settles_send(struct subscription *subscription)
{
	struct mqp_consumer *consumer = subscription->consumer;
	uint32_t entries = MIN((link_max_frame(subscription->stream.link) - SETTLE_HEAD_SIZE) /
				       SETTLE_ENTRY_SIZE,
			       SETTLE_ENTRIES);

	for (;;) {
		const struct settles_batch *batch;
		struct buf *buf = NULL;
		struct payload payload;

		pthread_mutex_lock(&consumer->lock);
		batch = settles_take(&subscription->settles, entries);
		if (batch && buf_new(settles_encoded_size(batch), &buf) == 0)
			settles_encode(batch, buf->data);
		pthread_mutex_unlock(&consumer->lock);
		if (!batch)
			return;
		if (!buf) {
			link_break(subscription->stream.link);
			return;
		}
		payload = (struct payload){buf, buf->size, crc32c(0, buf->data, buf->size)};
		link_send_buf(subscription->stream.link, FRAME_SETTLE, 0, subscription->stream.id,
			      &payload);
		buf_unref(buf);
	}
}

static void tally_count(struct mqp_client *client, const struct settles_tally *tally)
{
	static const enum mqp_stat stats[WIRE_VERB_COUNT] = {
		[WIRE_ACK] = MQP_STAT_ACKED,        [WIRE_NACK] = MQP_STAT_NACKED,
		[WIRE_EXTEND] = MQP_STAT_EXTENDED,  [WIRE_REJECT] = MQP_STAT_REJECTS,
		[WIRE_RELEASE] = MQP_STAT_RELEASED,
	};

	for (unsigned verb = 0; verb < WIRE_VERB_COUNT; ++verb)
		client_count(client, stats[verb], tally->settled[verb]);
	client_count(client, MQP_STAT_STALE, tally->stale);
}

static int settled_frame(struct subscription *subscription, const uint8_t *payload, size_t size)
{
	struct mqp_consumer *consumer = subscription->consumer;
	struct settles_tally tally;
	int r;

	pthread_mutex_lock(&consumer->lock);
	r = settles_answered(&subscription->settles, payload, size, &tally);
	// Before anybody is told: who was told finds it counted.
	if (r == 0)
		tally_count(consumer->client, &tally);
	consumer_changed(consumer);
	pthread_mutex_unlock(&consumer->lock);
	if (r < 0)
		return r;
	if (tally.code != MQP_OK)
		client_log(consumer->client, MQP_LOG_WARN, "group %s refuses a settle: %s",
			   consumer->group, mqp_strerror(tally.code));
	consumer_wake(consumer);
	return 0;
}

// ---- Deliveries ------------------------------------------------------------------------------

// Puts a delivery's messages at the end of the queue; under the lock.
static void queue_append(struct mqp_consumer *consumer, struct delivery *delivery)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < delivery->count; ++i) {
		struct mqp_message *message = &delivery->messages[i];

		bytes += message->size;
		if (consumer->last)
			consumer->last->next = message;
		else
			consumer->first = message;
		consumer->last = message;
	}
	consumer->queued += delivery->count;
	consumer->in_hand += delivery->count;
	delivery->subscription->held_messages += delivery->count;
	delivery->subscription->held_bytes += bytes;
}

static void delivery_count(struct mqp_client *client, const struct delivery *delivery,
			   uint64_t *ret_bytes)
{
	uint64_t again = 0;

	*ret_bytes = 0;
	for (uint32_t i = 0; i < delivery->count; ++i) {
		again += delivery->messages[i].attempt > 1;
		*ret_bytes += delivery->messages[i].size;
	}
	client_count(client, MQP_STAT_DELIVERED, delivery->count);
	client_count(client, MQP_STAT_REDELIVERED, again);
}

static int deliver_frame(struct subscription *subscription, struct buf *buf, const uint8_t *payload,
			 size_t size)
{
	struct mqp_consumer *consumer = subscription->consumer;
	struct delivery *delivery;
	struct deliver_head head;
	uint64_t bytes;

	if (deliver_check(payload, size, false, &head) || head.count == 0)
		return -EBADMSG;
	if (delivery_new(subscription, buf, payload, size, consumer->client->now_ns, &delivery) < 0)
		return -ENOMEM;
	delivery_count(consumer->client, delivery, &bytes);
	pthread_mutex_lock(&consumer->lock);
	queue_append(consumer, delivery);
	if (head.count > 1)
		pthread_cond_broadcast(&consumer->work);
	else
		pthread_cond_signal(&consumer->work);
	pthread_mutex_unlock(&consumer->lock);
	if (!grants_delivered(&subscription->grants, head.count, bytes))
		return -EBADMSG;
	credit_note(subscription);
	consumer_wake(consumer);
	return 0;
}

// ---- The group's stream ----------------------------------------------------------------------

static void consumer_open(struct mqp_consumer *consumer)
{
	struct link *link = consumer->client->link;
	struct subscription *subscription;

	if (!consumer->attached || consumer->current || !link || !link_ready(link) ||
	    consumer->client->now_ns < consumer->reopen_ns)
		return;
	consumer->reopen_ns = 0;
	if (subscription_new(consumer, &subscription) < 0)
		return;
	subscription->visibility_ms = VISIBILITY_GUESS;
	subscription->stream.ops = &subscription_ops;
	if (link_open(link, &subscription->stream, FRAME_SUBSCRIBE, FIELD_GROUP, consumer->group) <
	    0) {
		subscription_unref(subscription);
		return;
	}
	pthread_mutex_lock(&consumer->lock);
	list_push_back(&consumer->subscriptions, &subscription->node);
	pthread_mutex_unlock(&consumer->lock);
	consumer->current = subscription;
}

static void group_opened(struct stream *stream, const uint8_t *payload, size_t size)
{
	struct subscription *subscription = subscription_of(stream);
	struct mqp_consumer *consumer = subscription->consumer;
	struct fields fields;

	if (fields_read(payload, size, &fields)) {
		link_close(stream->link, MQP_PROTOCOL, "SUBSCRIBED is malformed");
		return;
	}
	consumer->reopen_wait_ms = 0;
	pthread_mutex_lock(&consumer->lock);
	subscription->alive = true;
	subscription->visibility_ms =
		(uint32_t)MAX(fields_int(&fields, FIELD_VISIBILITY_MS, VISIBILITY_GUESS), 2u);
	pthread_mutex_unlock(&consumer->lock);
	consumer_set_open(consumer, true, MQP_OK);
	consumer_wake(consumer);
}

// Takes a subscription's unseen messages out of the queue: they come again over another one.
static struct mqp_message *queue_purge(struct mqp_consumer *consumer,
				       const struct subscription *subscription)
{
	struct mqp_message *purged = NULL, *message = consumer->first, *next;

	consumer->first = consumer->last = NULL;
	consumer->queued = 0;
	for (; message; message = next) {
		next = message->next;
		if (message->delivery->subscription == subscription) {
			message->next = purged;
			purged = message;
			continue;
		}
		message->next = NULL;
		if (consumer->last)
			consumer->last->next = message;
		else
			consumer->first = message;
		consumer->last = message;
		++consumer->queued;
	}
	return purged;
}

// The end of a subscription whose stream is gone: nothing that came over it can be settled.
static void subscription_end(struct subscription *subscription)
{
	struct mqp_consumer *consumer = subscription->consumer;
	struct mqp_message *purged, *next;

	pthread_mutex_lock(&consumer->lock);
	subscription->alive = false;
	subscription->owed = false;
	consumer->unconfirmed += settles_lost(&subscription->settles);
	consumer->in_hand -= subscription->held_messages;
	subscription->held_messages = subscription->held_bytes = 0;
	purged = queue_purge(consumer, subscription);
	list_unlink(&subscription->node);
	consumer_changed(consumer);
	pthread_mutex_unlock(&consumer->lock);
	for (; purged; purged = next) {
		next = purged->next;
		delivery_unref(purged->delivery);
	}
	if (consumer->current == subscription)
		consumer->current = NULL;
	subscription_unref(subscription);
}

static void group_ended(struct stream *stream, enum mqp_code code, uint32_t retry_after_ms)
{
	struct subscription *subscription = subscription_of(stream);
	struct mqp_consumer *consumer = subscription->consumer;
	uint32_t wait_ms = consumer->reopen_wait_ms ? consumer->reopen_wait_ms : REOPEN_MIN_MS;
	bool current = consumer->current == subscription;

	consumer_ref(consumer);
	subscription_end(subscription);
	if (current) {
		consumer_set_open(consumer, false, code);
		pull_restart(consumer);
	}
	if (current && code != MQP_CONNECTION_LOST) {
		consumer->reopen_wait_ms = MIN(wait_ms * 2, REOPEN_MAX_MS);
		consumer->reopen_ns =
			consumer->client->now_ns + MAX(wait_ms, retry_after_ms) * MS_NS;
		if (!mqp_code_retriable(code))
			client_log(consumer->client, MQP_LOG_WARN, "group %s: %s", consumer->group,
				   mqp_strerror(code));
	}
	consumer_wake(consumer);
	consumer_unref(consumer);
}

static void group_leaving(struct stream *stream)
{
	struct subscription *subscription = subscription_of(stream);
	struct mqp_consumer *consumer = subscription->consumer;

	credit_return(subscription);
	subscription->left = true;
	if (consumer->current == subscription) {
		consumer->current = NULL;
		consumer_set_open(consumer, false, MQP_TIMEOUT);
		pull_restart(consumer);
	}
	consumer_wake(consumer);
}

static int group_frame(struct stream *stream, unsigned type, struct buf *buf,
		       const uint8_t *payload, size_t size)
{
	struct subscription *subscription = subscription_of(stream);

	switch (type) {
	case FRAME_DELIVER: return deliver_frame(subscription, buf, payload, size);
	case FRAME_SETTLED: return settled_frame(subscription, payload, size);
	case FRAME_DRAINED:
		if (size != 8 || !grants_drained(&subscription->grants, le64_get(payload)))
			return -EBADMSG;
		credit_note(subscription);
		pull_drained(subscription->consumer, subscription);
		consumer_wake(subscription->consumer);
		return 0;
	default: return -EBADMSG;
	}
}

static const struct stream_ops subscription_ops = {
	.opened = group_opened,
	.ended = group_ended,
	.frame = group_frame,
	.leaving = group_leaving,
};

// A subscription that was left goes when nothing of it is in hand or unconfirmed.
static void subscription_retire(struct subscription *subscription)
{
	struct mqp_consumer *consumer = subscription->consumer;
	bool over;

	pthread_mutex_lock(&consumer->lock);
	over = subscription->held_messages == 0 && settles_idle(&subscription->settles);
	pthread_mutex_unlock(&consumer->lock);
	if (!over || subscription->grants.draining)
		return;
	link_leave_stream(&subscription->stream);
	subscription_end(subscription);
}

// ---- Time ------------------------------------------------------------------------------------

// Extends what callbacks work on; under the lock. The earliest next time, or UINT64_MAX.
static uint64_t slots_extend(struct mqp_consumer *consumer, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (uint32_t i = 0; i < consumer->thread_count; ++i) {
		struct slot *slot = &consumer->slots[i];
		uint64_t limit_ns = slot->began_ns + consumer->config.extend_max_ms * MS_NS;
		uint32_t visibility_ms;

		if (!slot->message || slot->message->settled || slot->extend_ns >= limit_ns)
			continue;
		visibility_ms = slot->message->delivery->subscription->visibility_ms;
		if (slot->extend_ns <= now_ns) {
			uint64_t left_ms = (limit_ns - MIN(now_ns, limit_ns)) / MS_NS;

			if (left_ms > 0)
				delivery_settle(slot->message, MQP_EXTEND,
						(uint32_t)MIN(visibility_ms, left_ms));
			slot->extend_ns = now_ns + visibility_ms * MS_NS / 2;
		}
		next_ns = MIN(next_ns, slot->extend_ns);
	}
	return next_ns;
}

// What has waited unseen for half of its time is given back for others to take: also what came for
// a pull that had left, when no other has taken it. Under the lock.
static struct mqp_message *queue_aged(struct mqp_consumer *consumer, uint64_t now_ns,
				      uint64_t *ret_next_ns)
{
	struct mqp_message *message = consumer->first;
	uint64_t aged_ns;

	*ret_next_ns = UINT64_MAX;
	if (!message || (!consumer_pushes(consumer) && consumer->phase != PULL_NONE))
		return NULL;
	aged_ns = message->delivery->received_ns +
		  message->delivery->subscription->visibility_ms * MS_NS / 2;
	if (now_ns >= aged_ns)
		return consumer_pop(consumer);
	*ret_next_ns = aged_ns;
	return NULL;
}

static void consumer_arm(struct mqp_consumer *consumer)
{
	uint64_t now_ns = consumer->client->now_ns, aged_ns, next_ns;
	struct mqp_message *aged;

	do {
		pthread_mutex_lock(&consumer->lock);
		aged = queue_aged(consumer, now_ns, &aged_ns);
		pthread_mutex_unlock(&consumer->lock);
		if (aged)
			mqp_message_free(aged);
	} while (aged);
	pthread_mutex_lock(&consumer->lock);
	next_ns = MIN(slots_extend(consumer, now_ns), aged_ns);
	if (consumer->phase == PULL_WAITING && consumer->pull_return_ns > now_ns)
		next_ns = MIN(next_ns, consumer->pull_return_ns);
	pthread_mutex_unlock(&consumer->lock);
	if (consumer->reopen_ns > now_ns)
		next_ns = MIN(next_ns, consumer->reopen_ns);
	if (timer_set(&consumer->client->timers, &consumer->timer, next_ns) < 0)
		client_log(consumer->client, MQP_LOG_ERROR, "no memory for a timer");
}

// ---- Rounds ----------------------------------------------------------------------------------

static void subscriptions_serve(struct mqp_consumer *consumer)
{
	LIST_FOREACH(node, next, &consumer->subscriptions)
	{
		struct subscription *subscription = LIST_ENTRY(node, struct subscription, node);

		if (stream_open(subscription))
			settles_send(subscription);
		if (subscription->left)
			subscription_retire(subscription);
	}
}

static void consumer_detach(struct mqp_consumer *consumer)
{
	struct list *node;

	while ((node = consumer->subscriptions.next) != &consumer->subscriptions) {
		struct subscription *subscription = LIST_ENTRY(node, struct subscription, node);

		if (subscription->stream.link)
			link_leave_stream(&subscription->stream);
		subscription_end(subscription);
	}
	pull_cut(consumer);
	list_unlink(&consumer->member.io_node);
	timer_clear(&consumer->client->timers, &consumer->timer);
	consumer->attached = false;
	pthread_mutex_lock(&consumer->lock);
	// From here on nobody posts; one post that is on its way finds nothing to do.
	consumer->detached = !atomic_load(&consumer->member.work.queued);
	consumer->open = false;
	consumer_changed(consumer);
	pthread_mutex_unlock(&consumer->lock);
}

static void consumer_work(struct mqp_consumer *consumer)
{
	bool parting, closing;

	pthread_mutex_lock(&consumer->lock);
	parting = consumer->parting;
	closing = consumer->closing && consumer->phase == PULL_NONE;
	consumer_changed(consumer);
	pthread_mutex_unlock(&consumer->lock);
	if (parting) {
		consumer_detach(consumer);
		return;
	}
	// What still comes while the credit is on its way back goes back uncounted.
	if (closing)
		consumer_release_queued(consumer);
	consumer_open(consumer);
	if (consumer_pushes(consumer) && consumer->config.threads == 0 && !consumer->thread_count)
		push_run_some(consumer);
	if (consumer_pushes(consumer))
		push_credit(consumer);
	else
		pull_step(consumer);
	consumer_arm(consumer);
	subscriptions_serve(consumer);
}

static void consumer_run(struct work *work, uint64_t now_ns)
{
	struct mqp_consumer *consumer = CONTAINER_OF(work, struct mqp_consumer, member.work);
	bool detached, parting;

	pthread_mutex_lock(&consumer->lock);
	detached = consumer->detached;
	parting = consumer->parting;
	pthread_mutex_unlock(&consumer->lock);
	if (detached)
		return;
	if (!consumer->attached && !parting) {
		consumer->attached = true;
		list_push_back(&consumer->client->attached, &consumer->member.io_node);
	}
	consumer_work(consumer);
}

static void consumer_timer(struct timer *timer, uint64_t now_ns)
{
	consumer_work(CONTAINER_OF(timer, struct mqp_consumer, timer));
}

static struct mqp_consumer *consumer_of(struct member *member)
{
	return CONTAINER_OF(member, struct mqp_consumer, member);
}

static void member_link_ready(struct member *member, struct link *link)
{
	consumer_of(member)->reopen_ns = 0;
	consumer_open(consumer_of(member));
}

static void member_cut(struct member *member)
{
	struct mqp_consumer *consumer = consumer_of(member);

	pthread_mutex_lock(&consumer->lock);
	consumer->closing = consumer->parting = true;
	pthread_mutex_unlock(&consumer->lock);
	consumer_detach(consumer);
}

static enum mqp_code member_close(struct member *member, uint64_t deadline_ns)
{
	return consumer_close(consumer_of(member), deadline_ns);
}

static void member_print(struct member *member, struct json *json)
{
	struct mqp_consumer *consumer = consumer_of(member);

	pthread_mutex_lock(&consumer->lock);
	json_open(json, NULL);
	json_text(json, "group", consumer->group);
	json_text(json, "kind", consumer_pushes(consumer) ? "push" : "pull");
	json_text(json, "status", consumer->open ? "OK" : mqp_code_name(consumer->status));
	json_bool(json, "paused", consumer->paused);
	json_number(json, "unseen", consumer->queued);
	json_number(json, "in_hand", consumer->in_hand);
	json_close(json);
	pthread_mutex_unlock(&consumer->lock);
}

static const struct member_ops consumer_member_ops = {
	.kind = "consumers",
	.link_ready = member_link_ready,
	.cut = member_cut,
	.close = member_close,
	.print = member_print,
};

void consumer_io_init(struct mqp_consumer *consumer)
{
	consumer->member.ops = &consumer_member_ops;
	consumer->member.work.run = consumer_run;
	consumer->timer.fire = consumer_timer;
}
