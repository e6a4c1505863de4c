// The I/O side of a consumer: subscribes on the link in use, takes deliveries, and leaves when
// asked to.
//
// All of it runs on the I/O thread. A subscription that was left (GOAWAY, changed credentials)
// exists beside the current one until everything that came over it is settled.
//
// Invariants: at most one subscription is current; a subscription leaves consumer->subscriptions
// once, in subscription_end(); after `detached` nothing posts to the I/O. Not here: what a consumer
// tells the proxy (consumer_report.c), and pulling (consumer_pull.c).

#include "sdk/c/src/consumer_io.h"

#include "core/base/util.h"
#include "core/wire/deliver.h"
#include "core/wire/fields.h"
#include "core/wire/frame.h"
#include "sdk/c/src/consumer.h"
#include "sdk/c/src/consumer_api.h"
#include "sdk/c/src/consumer_credit.h"
#include "sdk/c/src/consumer_pull.h"
#include "sdk/c/src/consumer_report.h"
#include "sdk/c/src/delivery.h"
#include "sdk/c/src/json.h"
#include "sdk/c/src/push.h"
#include "sdk/c/src/subscription.h"

#include <errno.h>

#define REOPEN_MIN_MS    100u
#define REOPEN_MAX_MS    2000u
#define VISIBILITY_GUESS 30000u // until SUBSCRIBED tells

static const struct stream_ops subscription_ops;

static struct subscription *subscription_of(struct stream *stream)
{
	return CONTAINER_OF(stream, struct subscription, stream);
}

static void consumer_set_open(struct mqp_consumer *consumer, bool open, enum mqp_code status)
{
	pthread_mutex_lock(&consumer->lock);
	consumer->open = open;
	consumer->status = status;
	consumer_changed(consumer);
	pthread_mutex_unlock(&consumer->lock);
}

// ---- Deliveries ------------------------------------------------------------------------------

// Puts a delivery's messages at the end of the hand; under the lock.
static void hand_append(struct mqp_consumer *consumer, struct delivery *delivery)
{
	struct subscription *subscription = delivery->subscription;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < delivery->count; ++i) {
		struct mqp_message *message = &delivery->messages[i];

		bytes += message->size;
		hand_add(&consumer->hand, &message->item);
	}
	if (subscription->held_messages == 0)
		subscription->tick_ns = consumer->client->now_ns;
	atomic_fetch_add(&consumer->hand.held, delivery->count);
	subscription->sub.received += delivery->count;
	subscription->held_messages += delivery->count;
	subscription->held_bytes += bytes;
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

	if (deliver_check(payload, size, subscription->sub.tells, &head) || head.count == 0)
		return -EBADMSG;
	if (delivery_new(subscription, buf, payload, size, consumer->client->now_ns, &delivery) < 0)
		return -ENOMEM;
	delivery_count(consumer->client, delivery, &bytes);
	pthread_mutex_lock(&consumer->lock);
	hand_append(consumer, delivery);
	if (!subscription->sub.tells)
		pthread_cond_broadcast(&consumer->work); // else when it is told
	pthread_mutex_unlock(&consumer->lock);
	if (subscription->left)
		consumer_credit_give_back(subscription, GIVE_LEFT);
	if (!credit_totals_delivered(&subscription->credit, head.count, bytes))
		return -EBADMSG;
	consumer_credit_note(subscription);
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
	subscription->sub.visibility_ns = VISIBILITY_GUESS * MS_NS;
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
	subscription->sub.alive = true;
	subscription->sub.tells = link_has_begun(stream->link);
	subscription->sub.visibility_ns =
		MAX(fields_int(&fields, FIELD_VISIBILITY_MS, VISIBILITY_GUESS), 4u) * MS_NS;
	pthread_mutex_unlock(&consumer->lock);
	consumer_set_open(consumer, true, MQP_OK);
	consumer_wake(consumer);
}

// Takes a subscription's unseen messages out of the hand: they come again over another one.
static struct mqp_message *hand_purge(struct mqp_consumer *consumer,
				      const struct subscription *subscription)
{
	struct mqp_message *purged = NULL;
	struct hand_item *item;

	consumer_pull_forget(consumer, subscription);
	while ((item = hand_remove(&consumer->hand, &subscription->sub))) {
		struct mqp_message *message = CONTAINER_OF(item, struct mqp_message, item);

		message->next = purged;
		purged = message;
	}
	return purged;
}

// The end of a subscription whose stream is gone: nothing that came over it can be settled.
static void subscription_end(struct subscription *subscription)
{
	struct mqp_consumer *consumer = subscription->consumer;
	struct mqp_message *purged, *next;

	pthread_mutex_lock(&consumer->lock);
	subscription->sub.alive = false;
	subscription->owed = false;
	consumer->unconfirmed += settle_queue_lost(&subscription->settle_queue);
	atomic_fetch_sub(&consumer->hand.held, subscription->held_messages);
	subscription->held_messages = subscription->held_bytes = 0;
	purged = hand_purge(consumer, subscription);
	barrier_drop_sub(consumer->hand.barrier, &subscription->sub);
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
		consumer_pull_restart(consumer);
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

	subscription->left = true;
	consumer_credit_give_back(subscription, GIVE_LEFT);
	if (consumer->current == subscription) {
		consumer->current = NULL;
		consumer_set_open(consumer, false, MQP_TIMEOUT);
		consumer_pull_restart(consumer);
	}
	consumer_wake(consumer);
}

static int group_frame(struct stream *stream, unsigned type, struct buf *buf,
		       const uint8_t *payload, size_t size)
{
	struct subscription *subscription = subscription_of(stream);

	switch (type) {
	case FRAME_DELIVER: return deliver_frame(subscription, buf, payload, size);
	case FRAME_SETTLED: return consumer_report_settled(subscription, payload, size);
	case FRAME_DRAINED:
		if (size != 8 || !credit_totals_drained(&subscription->credit, le64_get(payload)))
			return -EBADMSG;
		consumer_credit_note(subscription);
		consumer_credit_give_back_drained(subscription);
		consumer_pull_drained(subscription->consumer, subscription);
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
	.written = consumer_report_written,
};

// A subscription that was left goes when nothing of it is in hand or unconfirmed.
static void subscription_retire(struct subscription *subscription)
{
	struct mqp_consumer *consumer = subscription->consumer;
	bool over;

	pthread_mutex_lock(&consumer->lock);
	over = subscription->held_messages == 0 && settle_queue_idle(&subscription->settle_queue);
	pthread_mutex_unlock(&consumer->lock);
	if (!over || subscription->credit.draining)
		return;
	link_leave_stream(&subscription->stream);
	subscription_end(subscription);
}

// ---- Time ------------------------------------------------------------------------------------

static void consumer_arm(struct mqp_consumer *consumer)
{
	uint64_t next_ns = consumer_report_next_ns(consumer);

	pthread_mutex_lock(&consumer->lock);
	next_ns = MIN(next_ns, consumer_pull_next_ns(consumer));
	pthread_mutex_unlock(&consumer->lock);
	if (consumer->reopen_ns > consumer->client->now_ns)
		next_ns = MIN(next_ns, consumer->reopen_ns);
	if (timer_set(&consumer->client->timers, &consumer->timer, next_ns) < 0)
		client_log(consumer->client, MQP_LOG_ERROR, "no memory for a timer");
}

// ---- Rounds ----------------------------------------------------------------------------------

static void subscriptions_retire(struct mqp_consumer *consumer)
{
	LIST_FOREACH(node, next, &consumer->subscriptions)
	{
		struct subscription *subscription = LIST_ENTRY(node, struct subscription, node);

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
	consumer_pull_cut(consumer);
	barrier_part(consumer->hand.barrier, &consumer->hand);
	list_unlink(&consumer->member.io_node);
	timer_clear(&consumer->client->timers, &consumer->timer);
	consumer->attached = false;
	pthread_mutex_lock(&consumer->lock);
	// No thread posts from here on; a post that is on its way finds nothing to do.
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
		consumer_api_release_queued(consumer);
	consumer_open(consumer);
	if (consumer_pushes(consumer) && consumer->config.threads == 0 && !consumer->thread_count)
		push_run_some(consumer);
	if (consumer_pushes(consumer))
		consumer_credit_top_up(consumer);
	else
		consumer_pull_step(consumer);
	consumer_report_tick(consumer);
	consumer_report_send(consumer);
	consumer_arm(consumer);
	subscriptions_retire(consumer);
}

// Attaches the consumer to the I/O on its first run; a work that was posted before the consumer
// detached finds nothing to do.
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
		barrier_join(consumer->hand.barrier, &consumer->hand);
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
	return consumer_api_close(consumer_of(member), deadline_ns);
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
	json_number(json, "unseen", atomic_load(&consumer->hand.queued));
	json_number(json, "in_hand", atomic_load(&consumer->hand.held));
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
