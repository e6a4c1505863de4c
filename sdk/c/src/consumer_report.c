// What a consumer tells the proxy, in this order: settles, then CREDIT with what begins next, new
// credit, a request to drain.
//
// Everything that is finished is reported before anything begins. So if the process ends, the proxy
// knows that a message that was in work ended it, not one that was done. A report is sent at the
// end of a round over each subscription that has something to say; when it is in the socket, what
// it told may begin.
//
// Keeping alive: every quarter of the visibility timeout a subscription with unsettled messages
// sends CREDIT. Messages that were told and are not settled are extended, whether they run or still
// wait.
//
// All of it runs on the I/O thread. Not here: deciding what begins (hand.c), and how much credit
// there is (consumer_credit.c).

#include "sdk/c/src/consumer_report.h"

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "core/wire/credit.h"
#include "core/wire/frame.h"
#include "core/wire/settle.h"
#include "sdk/c/src/consumer.h"
#include "sdk/c/src/consumer_credit.h"
#include "sdk/c/src/delivery.h"
#include "sdk/c/src/subscription.h"

#include <errno.h>

#define SETTLE_ENTRIES 4096u // of one frame, at most

// ---- Settles ---------------------------------------------------------------------------------

static int settles_frame(struct subscription *subscription, const struct settle_queue_batch *batch,
			 struct payload *ret)
{
	if (buf_new(settle_queue_encoded_size(batch), &ret->buf) < 0)
		return -ENOMEM;
	settle_queue_encode(batch, ret->buf->data);
	ret->size = ret->buf->size;
	ret->crc = crc32c(0, ret->buf->data, ret->size);
	return 0;
}

// Everything that is noted. Says whether there was something.
static bool settles_send(struct subscription *subscription)
{
	struct mqp_consumer *consumer = subscription->consumer;
	struct link *link = subscription->stream.link;
	uint32_t entries =
		MIN((link_max_frame(link) - SETTLE_HEAD_SIZE) / SETTLE_ENTRY_SIZE, SETTLE_ENTRIES);

	for (bool sent = false;; sent = true) {
		const struct settle_queue_batch *batch;
		struct payload payload = {0};
		int r = 0;

		pthread_mutex_lock(&consumer->lock);
		batch = settle_queue_take(&subscription->settle_queue, entries);
		if (batch)
			r = settles_frame(subscription, batch, &payload);
		else if (subscription->settle_queue.open.count == 0)
			barrier_sent(consumer->hand.barrier, &subscription->sub);
		pthread_mutex_unlock(&consumer->lock);
		if (!batch)
			return sent;
		if (r < 0) {
			link_break(link);
			return sent;
		}
		link_send_buf(link, FRAME_SETTLE, 0, subscription->stream.id, &payload);
		buf_unref(payload.buf);
	}
}

static void tally_count(struct mqp_client *client, const struct settle_queue_tally *tally)
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

int consumer_report_settled(struct subscription *subscription, const uint8_t *payload, size_t size)
{
	struct mqp_consumer *consumer = subscription->consumer;
	struct settle_queue_tally tally;
	int r;

	pthread_mutex_lock(&consumer->lock);
	r = settle_queue_answered(&subscription->settle_queue, payload, size, &tally);
	// Counted before any caller is told, so that a told caller finds it counted.
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

// ---- Reports ---------------------------------------------------------------------------------

static void credit_send(struct subscription *subscription)
{
	const struct credit_totals *credit = &subscription->credit;
	struct credit frame = {
		.messages = credit->granted_messages,
		.bytes = credit->granted_bytes,
		.drain = credit->drain,
		.begun = subscription->sub.telling,
	};
	uint8_t payload[CREDIT_BEGUN_SIZE];
	size_t size;

	// What crosses DRAINED must not give again what is given up.
	if (credit->draining && subscription->drain_told == credit->drain)
		frame.messages = frame.bytes = 0;
	size = credit_write(payload, subscription->sub.tells, &frame);
	subscription->drain_told = credit->drain;
	subscription->credit_due = false;
	link_send(subscription->stream.link, FRAME_CREDIT, subscription->stream.id, payload, size);
}

static void subscription_report(struct subscription *subscription)
{
	struct mqp_consumer *consumer = subscription->consumer;
	bool settles = settles_send(subscription), due;

	pthread_mutex_lock(&consumer->lock);
	due = subscription->credit_due || hand_due(&consumer->hand, &subscription->sub);
	if (due)
		hand_telling(&subscription->sub);
	pthread_mutex_unlock(&consumer->lock);
	if (due)
		credit_send(subscription);
	if (due || settles)
		link_mark(&subscription->stream);
}

void consumer_report_send(struct mqp_consumer *consumer)
{
	if (consumer_pushes(consumer)) {
		pthread_mutex_lock(&consumer->lock);
		if (!consumer->paused && !consumer->closing)
			hand_plan(&consumer->hand, consumer->client->now_ns);
		// What was told ahead may have waited for the suspect of another consumer.
		if (hand_can_begin(&consumer->hand))
			pthread_cond_broadcast(&consumer->work);
		pthread_mutex_unlock(&consumer->lock);
	}
	LIST_FOREACH(node, next, &consumer->subscriptions)
	{
		struct subscription *subscription = LIST_ENTRY(node, struct subscription, node);

		if (subscription_is_open(subscription))
			subscription_report(subscription);
	}
}

void consumer_report_written(struct stream *stream)
{
	struct subscription *subscription = CONTAINER_OF(stream, struct subscription, stream);
	struct mqp_consumer *consumer = subscription->consumer;
	bool look;

	pthread_mutex_lock(&consumer->lock);
	hand_written(&consumer->hand, &subscription->sub);
	look = consumer->hand.first && consumer->thread_count == 0;
	if (consumer->hand.first)
		pthread_cond_broadcast(&consumer->work);
	pthread_mutex_unlock(&consumer->lock);
	if (look)
		consumer_wake(consumer); // the loop itself takes what may begin now
}

// ---- Time ------------------------------------------------------------------------------------

// What callbacks work on; one that takes longer than it may is waited for no more. Under the lock.
static void slots_extend(struct mqp_consumer *consumer, const struct subscription *subscription,
			 uint64_t now_ns)
{
	for (uint32_t i = 0; i < consumer->thread_count; ++i) {
		struct slot *slot = &consumer->slots[i];
		uint64_t limit_ns = slot->began_ns + consumer->config.extend_max_ms * MS_NS;
		uint64_t left_ms = (limit_ns - MIN(now_ns, limit_ns)) / MS_NS;

		if (slot->began_ns && slot->message && slot->sub == &subscription->sub &&
		    !slot->message->settled && left_ms > 0)
			delivery_settle(
				slot->message, MQP_EXTEND,
				(uint32_t)MIN(subscription->sub.visibility_ns / MS_NS, left_ms));
	}
}

static void waiting_extend(struct mqp_consumer *consumer, const struct subscription *subscription)
{
	const struct hand_sub *sub = &subscription->sub;

	for (struct hand_item *item = consumer->hand.first; item; item = item->next) {
		if (item->sub != sub || item->number > sub->told || !sub->tells)
			continue;
		delivery_settle(CONTAINER_OF(item, struct mqp_message, item), MQP_EXTEND,
				(uint32_t)(sub->visibility_ns / MS_NS));
	}
}

static void subscription_tick(struct subscription *subscription, uint64_t now_ns)
{
	struct mqp_consumer *consumer = subscription->consumer;

	pthread_mutex_lock(&consumer->lock);
	if (subscription->held_messages == 0)
		subscription->tick_ns = now_ns;
	if (now_ns >= subscription->tick_ns + subscription->sub.visibility_ns / 4) {
		subscription->tick_ns = now_ns;
		subscription->credit_due = true;
		slots_extend(consumer, subscription, now_ns);
		waiting_extend(consumer, subscription);
	}
	pthread_mutex_unlock(&consumer->lock);
}

// A callback that has run for extend_max_ms counts as hanging: its message is extended no more, and
// the barrier no longer waits for it. hand_end() must then not count it down a second time.
static void slots_hang(struct mqp_consumer *consumer, uint64_t now_ns)
{
	for (uint32_t i = 0; i < consumer->thread_count; ++i) {
		struct slot *slot = &consumer->slots[i];

		if (!slot->began_ns || slot->hangs ||
		    now_ns < slot->began_ns + consumer->config.extend_max_ms * MS_NS)
			continue;
		slot->hangs = true;
		barrier_exit(consumer->hand.barrier, &consumer->hand);
	}
}

// True if callbacks or the next pull will take what waits.
static bool waits_for_begin(const struct mqp_consumer *consumer)
{
	return consumer_pushes(consumer) || consumer->phase == PULL_NONE;
}

void consumer_report_tick(struct mqp_consumer *consumer)
{
	uint64_t now_ns = consumer->client->now_ns;
	bool stuck;

	LIST_FOREACH(node, next, &consumer->subscriptions)
	{
		struct subscription *subscription = LIST_ENTRY(node, struct subscription, node);

		if (subscription_is_open(subscription))
			subscription_tick(subscription, now_ns);
	}
	pthread_mutex_lock(&consumer->lock);
	slots_hang(consumer, now_ns);
	stuck = waits_for_begin(consumer) && now_ns >= hand_stuck_ns(&consumer->hand);
	pthread_mutex_unlock(&consumer->lock);
	if (stuck && subscription_is_open(consumer->current))
		consumer_credit_give_back(consumer->current, GIVE_STUCK);
}

static uint64_t slots_next_ns(const struct mqp_consumer *consumer)
{
	uint64_t next_ns = UINT64_MAX;

	for (uint32_t i = 0; i < consumer->thread_count; ++i) {
		const struct slot *slot = &consumer->slots[i];

		if (slot->began_ns && !slot->hangs)
			next_ns = MIN(next_ns,
				      slot->began_ns + consumer->config.extend_max_ms * MS_NS);
	}
	return next_ns;
}

uint64_t consumer_report_next_ns(struct mqp_consumer *consumer)
{
	uint64_t now_ns = consumer->client->now_ns, next_ns;

	next_ns = barrier_tick(consumer->hand.barrier, &consumer->hand, now_ns);
	pthread_mutex_lock(&consumer->lock);
	next_ns = MIN(next_ns, slots_next_ns(consumer));
	if (waits_for_begin(consumer) && consumer->current && !consumer->current->credit.draining)
		next_ns = MIN(next_ns, MAX(hand_stuck_ns(&consumer->hand), now_ns + MS_NS));
	LIST_FOREACH(node, next, &consumer->subscriptions)
	{
		const struct subscription *subscription =
			LIST_ENTRY(node, struct subscription, node);

		if (subscription_is_open(subscription) && subscription->held_messages)
			next_ns = MIN(next_ns,
				      subscription->tick_ns + subscription->sub.visibility_ns / 4);
	}
	pthread_mutex_unlock(&consumer->lock);
	return next_ns;
}
