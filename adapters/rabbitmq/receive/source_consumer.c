// Consumers at the broker, and a gate behind them: what the source asks for is answered by the
// gate, and the broker's consumers follow when they can.
//
// **Why a gate.** A consumer cannot simply be cancelled. What a quorum queue has handed out when
// the cancel comes, and what is still on its way within the broker, goes back into the queue,
// behind what is new (tried on 3.10.8 and 4.0.5: of 50,000 messages some 200 came last). So
// consume(0) closes the gate: what arrives is kept here, and nothing is told to the broker. A
// consumer is cancelled only when it is *full*: everything that it may hand out has arrived, so
// nothing can be on its way. That is soon where the queue has messages, and where it has none there
// is nothing to keep. The other end is no cancel either: a channel is cut (source_channel.c).
//
// **What is kept** was handed out within the prefetch that the source had asked for, and is handed
// on first when it consumes again; in any case after a third of what the broker waits for, because
// the source renews what is unacknowledged for long.
//
// **One consumer at a time.** When a channel ends, a quorum queue takes back what each consumer
// holds, one consumer after the other, by their tags. That is in order only if every message of one
// came before those of the next: so a queue has one consumer that hands out, the next one begins
// when that is full and cancelled, and tags rise. Where its places are taken by what was asked for
// earlier, the next one is begun with what is missing: so a prefetch grows.
//
// **Two queues.** A quarter of a prefetch, at least one, is for `.retry`, and stays free while that
// is not there: its consumer can be added at any time. The gate counts both together: of what was
// handed on since the consuming began no more is unacknowledged than the prefetch. With a prefetch
// of one each queue has a consumer, and what of the second arrives waits at the gate.
//
// Two more rules of the broker, each the end of its connection with an internal error (541, tried
// on both): a consumer is not cancelled before it has been answered; a tag is not used twice,
// because a quorum queue takes the second consumer for the first.

#include "adapters/rabbitmq/receive/source_consumer.h"

#include "adapters/rabbitmq/receive/events.h"
#include "adapters/rabbitmq/receive/source_ack.h"
#include "adapters/rabbitmq/receive/source_channel.h"
#include "adapters/rabbitmq/receive/source_replay.h"

#include <errno.h>
#include <stdio.h>

#define KEPT_SHARE 3u // of what a broker waits for an acknowledgement; half is renewed

#define FOREACH_CONSUMER(attachment, at)                                                           \
	for (__typeof__(&(attachment)->consumers[0]) at = (attachment)->consumers;                 \
	     at < (attachment)->consumers + RABBITMQ_CONSUMERS; ++at)

// What has arrived and is not handed on.
struct kept {
	struct list in_kept;
	struct queue_arrival arrival;
	uint64_t since_ns;
	uint8_t queue;
	bool renewal;
};

// ---- consumers at the broker

static const char *const words[RABBITMQ_QUEUES] = {"mqpaas", "mqpaas-retry", "mqpaas-again"};

static void tag_make(struct rabbitmq_consumer *consumer)
{
	snprintf(consumer->tag, sizeof consumer->tag, "%s-%010u", words[consumer->queue],
		 consumer->number);
}

struct rabbitmq_consumer *rabbitmq_source_consumer_of(struct queue_attachment *attachment,
						      amqp_bytes_t tag)
{
	FOREACH_CONSUMER(attachment, consumer)
	{
		if (consumer->state != RABBITMQ_CONSUMER_NONE && tag.len == strlen(consumer->tag) &&
		    memcmp(tag.bytes, consumer->tag, tag.len) == 0)
			return consumer;
	}
	return NULL;
}

unsigned rabbitmq_source_consumer_count(const struct queue_attachment *attachment, uint8_t queue,
					enum rabbitmq_consumer_state state)
{
	unsigned count = 0;

	FOREACH_CONSUMER(attachment, consumer)
	{
		count += consumer->state == state && consumer->queue == queue;
	}
	return count;
}

// The one that hands out messages of the queue; NULL: there is none.
static struct rabbitmq_consumer *live_of(struct queue_attachment *attachment, uint8_t queue)
{
	FOREACH_CONSUMER(attachment, consumer)
	{
		if (consumer->queue == queue && (consumer->state == RABBITMQ_CONSUMER_STARTING ||
						 consumer->state == RABBITMQ_CONSUMER_RUNNING))
			return consumer;
	}
	return NULL;
}

static void start(struct queue_attachment *attachment, uint8_t queue, uint32_t prefetch)
{
	struct rabbitmq_consumer *free_one = NULL;
	amqp_basic_qos_t qos = {.prefetch_count = (uint16_t)MIN(prefetch, (uint32_t)UINT16_MAX)};
	amqp_basic_consume_t consume = {.queue = amqp_cstring_bytes(attachment->names[queue])};

	FOREACH_CONSUMER(attachment, consumer)
	{
		if (consumer->state == RABBITMQ_CONSUMER_NONE)
			free_one = consumer;
	}
	if (!free_one)
		return; // with those that are there it goes on
	*free_one = (struct rabbitmq_consumer){.number = ++attachment->consumer_number,
					       .state = RABBITMQ_CONSUMER_STARTING,
					       .queue = queue,
					       .prefetch = qos.prefetch_count,
					       .asked = attachment->acks};
	tag_make(free_one);
	consume.consumer_tag = amqp_cstring_bytes(free_one->tag);
	rabbitmq_source_channel_send(attachment, RABBITMQ_EXPECT_QOS, queue, AMQP_BASIC_QOS_METHOD,
				     &qos);
	rabbitmq_source_channel_send(attachment, RABBITMQ_EXPECT_CONSUME, queue,
				     AMQP_BASIC_CONSUME_METHOD, &consume);
}

static void cancel(struct queue_attachment *attachment, struct rabbitmq_consumer *consumer)
{
	amqp_basic_cancel_t cancel = {.consumer_tag = amqp_cstring_bytes(consumer->tag)};

	consumer->state = RABBITMQ_CONSUMER_CANCELLING;
	consumer->asked = attachment->acks;
	rabbitmq_source_channel_send(attachment, RABBITMQ_EXPECT_CANCEL, consumer->queue,
				     AMQP_BASIC_CANCEL_METHOD, &cancel);
}

void rabbitmq_source_consumer_started(struct queue_attachment *attachment, amqp_bytes_t tag)
{
	struct rabbitmq_consumer *consumer = rabbitmq_source_consumer_of(attachment, tag);

	if (!consumer || consumer->state != RABBITMQ_CONSUMER_STARTING)
		return;
	consumer->state = RABBITMQ_CONSUMER_RUNNING;
	rabbitmq_source_ack_shown(attachment, consumer->queue, consumer->asked);
}

// ---- what is asked for

static uint32_t share_of(const struct queue_attachment *attachment, uint8_t queue)
{
	uint32_t retry = MAX(attachment->prefetch / RABBITMQ_RETRY_SHARE, 1u);

	return queue == RABBITMQ_RETRY ? retry : MAX(attachment->prefetch - retry, 1u);
}

// What of it has come, for the current consuming.
static uint32_t arrived_of(const struct queue_attachment *attachment, uint8_t queue)
{
	return attachment->handed[queue] + attachment->kept_count[queue];
}

// The group's queue comes behind `.replay`.
static bool may_hand_out(const struct queue_attachment *attachment, uint8_t queue)
{
	return queue == RABBITMQ_RETRY || attachment->replaying == (queue == RABBITMQ_REPLAY);
}

static void start_missing(struct queue_attachment *attachment, uint8_t queue)
{
	uint32_t share = share_of(attachment, queue), arrived = arrived_of(attachment, queue);

	if (attachment->state == RABBITMQ_SOURCE_OPEN && attachment->prefetch && arrived < share &&
	    may_hand_out(attachment, queue) && !live_of(attachment, queue))
		start(attachment, queue, share - arrived);
}

// Is a consumer that is full of no use? Nothing is asked for, its places are taken by what was
// asked for earlier, or too much is kept.
static bool is_useless(const struct queue_attachment *attachment, uint8_t queue)
{
	uint32_t share = share_of(attachment, queue);

	return !attachment->prefetch || arrived_of(attachment, queue) <= share / 2 ||
	       attachment->kept_count[queue] > share;
}

static void replace_full(struct queue_attachment *attachment)
{
	for (uint8_t queue = 0; queue < RABBITMQ_QUEUES; ++queue) {
		struct rabbitmq_consumer *consumer = live_of(attachment, queue);

		if (!consumer || consumer->state != RABBITMQ_CONSUMER_RUNNING ||
		    consumer->open < consumer->prefetch || !is_useless(attachment, queue))
			continue;
		cancel(attachment, consumer);
		start_missing(attachment, queue);
	}
}

// For places that have become free while there was no consumer.
static void start_again(struct queue_attachment *attachment, uint8_t queue)
{
	if (arrived_of(attachment, queue) <= share_of(attachment, queue) / 2)
		start_missing(attachment, queue);
}

// ---- the gate

static int hand_on(struct queue_attachment *attachment, uint8_t queue,
		   const struct queue_arrival *arrival, bool renewal)
{
	attachment->handed_tag = arrival->tag;
	++attachment->handed[queue];
	return rabbitmq_events_arrived(attachment, arrival, renewal);
}

static bool is_open(const struct queue_attachment *attachment)
{
	uint32_t handed = 0;

	for (uint8_t queue = 0; queue < RABBITMQ_QUEUES; ++queue)
		handed += attachment->handed[queue];
	return handed < attachment->prefetch;
}

static uint64_t now_ns(const struct queue_attachment *attachment)
{
	return loop_now_ns(rabbitmq_link_loop(attachment->adapter->receive));
}

static struct kept *first_kept(const struct queue_attachment *attachment)
{
	return list_empty(&attachment->kept)
		       ? NULL
		       : LIST_ENTRY(attachment->kept.next, struct kept, in_kept);
}

static uint64_t kept_until_ns(const struct queue_attachment *attachment, const struct kept *kept)
{
	return kept->since_ns + attachment->hold_ms * MS_NS / KEPT_SHARE;
}

static bool may_leave(const struct queue_attachment *attachment, const struct kept *kept)
{
	return is_open(attachment) || now_ns(attachment) >= kept_until_ns(attachment, kept);
}

static void kept_timer_arm(struct queue_attachment *attachment)
{
	const struct kept *kept = first_kept(attachment);

	if (kept)
		loop_timer_set(&attachment->kept_timer, kept_until_ns(attachment, kept));
	else
		loop_timer_cancel(&attachment->kept_timer);
}

static void hand_on_kept(struct queue_attachment *attachment)
{
	struct kept *kept;
	int r = 0;

	while (r == 0 && (kept = first_kept(attachment)) && may_leave(attachment, kept)) {
		r = hand_on(attachment, kept->queue, &kept->arrival, kept->renewal);
		list_unlink(&kept->in_kept);
		--attachment->kept_count[kept->queue];
		free(kept);
	}
	kept_timer_arm(attachment);
	if (r < 0)
		rabbitmq_source_channel_cut(attachment, CODE_OVERLOADED,
					    "no memory for a delivery");
}

static void on_kept_timer(struct loop_timer *timer)
{
	hand_on_kept(CONTAINER_OF(timer, struct queue_attachment, kept_timer));
}

int rabbitmq_source_consumer_arrived(struct queue_attachment *attachment, uint8_t queue,
				     const struct queue_arrival *arrival, bool renewal)
{
	struct kept *kept;

	if (!first_kept(attachment) && is_open(attachment)) {
		int r = hand_on(attachment, queue, arrival, renewal);

		replace_full(attachment);
		return r;
	}
	kept = malloc(sizeof *kept);
	if (!kept) {
		buf_unref(arrival->buf);
		return -ENOMEM;
	}
	*kept = (struct kept){.arrival = *arrival,
			      .since_ns = now_ns(attachment),
			      .queue = queue,
			      .renewal = renewal};
	list_push_back(&attachment->kept, &kept->in_kept);
	++attachment->kept_count[queue];
	hand_on_kept(attachment); // sets the timer
	replace_full(attachment);
	return 0;
}

struct rabbitmq_consumer *rabbitmq_source_consumer_numbered(struct queue_attachment *attachment,
							    uint32_t number)
{
	struct rabbitmq_consumer *last = attachment->last_acked;

	if (last && last->state != RABBITMQ_CONSUMER_NONE && last->number == number)
		return last;
	FOREACH_CONSUMER(attachment, consumer)
	{
		if (consumer->state != RABBITMQ_CONSUMER_NONE && consumer->number == number)
			return attachment->last_acked = consumer;
	}
	return NULL;
}

void rabbitmq_source_consumer_acking(struct queue_attachment *attachment)
{
	replace_full(attachment);
}

// Its place is not of the prefetch that the source has asked for.
void rabbitmq_source_consumer_set_aside(struct queue_attachment *attachment)
{
	replace_full(attachment);
}

void rabbitmq_source_consumer_acked(struct queue_attachment *attachment,
				    struct rabbitmq_consumer *consumer,
				    const struct rabbitmq_tag *tag)
{
	if (tag->tag > attachment->since_tag)
		--attachment->handed[tag->queue];
	if (!consumer)
		return;
	--consumer->open;
	++consumer->settled;
}

void rabbitmq_source_consumer_free(struct queue_attachment *attachment)
{
	hand_on_kept(attachment);
	if (attachment->state != RABBITMQ_SOURCE_OPEN)
		return;
	start_again(attachment, RABBITMQ_MAIN); // one of the two may
	start_again(attachment, RABBITMQ_REPLAY);
	if (attachment->has_retry)
		start_again(attachment, RABBITMQ_RETRY);
}

// ---- proofs (source_ack.c)

bool rabbitmq_source_consumer_has_room(struct queue_attachment *attachment, uint8_t queue)
{
	const struct rabbitmq_consumer *consumer = live_of(attachment, queue);

	return consumer && consumer->open < consumer->prefetch;
}

static bool is_asked(const struct queue_attachment *attachment, uint8_t queue)
{
	return rabbitmq_source_consumer_count(attachment, queue, RABBITMQ_CONSUMER_STARTING) ||
	       rabbitmq_source_consumer_count(attachment, queue, RABBITMQ_CONSUMER_CANCELLING);
}

int rabbitmq_source_consumer_prove(struct queue_attachment *attachment, uint8_t queue)
{
	struct rabbitmq_consumer *consumer = live_of(attachment, queue);

	if (is_asked(attachment, queue))
		return 0;
	if (rabbitmq_source_consumer_has_room(attachment, queue))
		return -EAGAIN;
	if (consumer)
		cancel(attachment, consumer);
	else if (arrived_of(attachment, queue) < share_of(attachment, queue) &&
		 attachment->prefetch && may_hand_out(attachment, queue))
		start_missing(attachment, queue);
	else
		start(attachment, queue, 1);
	return 0;
}

bool rabbitmq_source_consumer_cancel(struct queue_attachment *attachment, uint8_t queue)
{
	struct rabbitmq_consumer *consumer = live_of(attachment, queue);

	if (consumer)
		cancel(attachment, consumer);
	return consumer;
}

// ---- beginning and ending

void rabbitmq_source_consumer_begin(struct queue_attachment *attachment, uint32_t prefetch)
{
	assert(!attachment->prefetch && prefetch);
	attachment->prefetch = prefetch;
	attachment->since_tag = attachment->handed_tag;
	memset(attachment->handed, 0, sizeof attachment->handed);
	if (attachment->has_retry)
		start_missing(attachment, RABBITMQ_RETRY); // what was due comes before what is new
	start_missing(attachment, RABBITMQ_MAIN);          // one of the two may
	start_missing(attachment, RABBITMQ_REPLAY);
	replace_full(attachment);
	hand_on_kept(attachment);
}

void rabbitmq_source_consumer_end(struct queue_attachment *attachment)
{
	attachment->prefetch = 0;
	rabbitmq_events_cancelled(attachment);
	replace_full(attachment);
}

void rabbitmq_source_consumer_retry(struct queue_attachment *attachment)
{
	if (attachment->has_retry || attachment->state == RABBITMQ_SOURCE_NONE)
		return;
	attachment->has_retry = true;
	if (attachment->prefetch && attachment->state == RABBITMQ_SOURCE_OPEN)
		start_missing(attachment, RABBITMQ_RETRY);
}

void rabbitmq_source_consumer_cancelled(struct queue_attachment *attachment, amqp_bytes_t tag)
{
	struct rabbitmq_consumer *consumer = rabbitmq_source_consumer_of(attachment, tag);

	if (!consumer)
		return;
	consumer->state = RABBITMQ_CONSUMER_NONE;
	rabbitmq_source_replay_cancelled(attachment);
	rabbitmq_source_consumer_free(attachment);
	rabbitmq_source_ack_shown(attachment, consumer->queue, consumer->asked);
}

void rabbitmq_source_consumer_reset(struct queue_attachment *attachment)
{
	struct kept *kept;

	loop_timer_cancel(&attachment->kept_timer);
	while ((kept = first_kept(attachment))) {
		list_unlink(&kept->in_kept);
		buf_unref(kept->arrival.buf);
		free(kept);
	}
	memset(attachment->kept_count, 0, sizeof attachment->kept_count);
	memset(attachment->handed, 0, sizeof attachment->handed);
	memset(attachment->consumers, 0, sizeof attachment->consumers);
	attachment->prefetch = 0;
	attachment->handed_tag = attachment->since_tag = 0;
	attachment->last_acked = NULL;
}

void rabbitmq_source_consumer_init(struct queue_attachment *attachment)
{
	list_init(&attachment->kept);
	loop_timer_init(&attachment->kept_timer, rabbitmq_link_loop(attachment->adapter->receive),
			on_kept_timer);
}
