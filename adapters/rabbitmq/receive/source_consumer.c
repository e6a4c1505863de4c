// How one prefetch becomes two consumers that together never exceed it.
//
// A quarter of the prefetch, at least one, is for `.retry`, and stays free while that is not there:
// so its consumer can be added while the other one runs. A prefetch cannot be changed under a
// running consumer, and there is none for both (a global one closes the connection of a quorum
// queue).
//
// **A prefetch of one** (messages of tens of megabytes) is one place for two queues. `.retry` has
// it while a message is ready there, because what was due comes before what is new; else the
// group's queue has it. Every CHOICE_NS it is looked whether the other one should have it. Then the
// consumer is cancelled, and the other one begins when what the first has handed out is
// acknowledged.
//
// Invariant: of what came since the consuming began no more is unacknowledged than the prefetch.

#include "adapters/rabbitmq/receive/source_consumer.h"

#include "adapters/rabbitmq/receive/events.h"
#include "adapters/rabbitmq/receive/source_channel.h"

#include <stdio.h>

#define CHOICE_NS   S_NS
#define RETRY_SHARE 4u // the part of the prefetch that is for .retry: one in RETRY_SHARE

static const char *const words[RABBITMQ_QUEUES] = {"mqpaas-", "mqpaas-retry-"};

// A tag is not used twice on a channel: a quorum queue of 3.10 takes a second consumer with the
// tag of a cancelled one for that one, and its channel fails with an internal error.
static void tag_set(struct queue_attachment *attachment, uint8_t queue)
{
	snprintf(attachment->tags[queue], sizeof attachment->tags[queue], "%s%u", words[queue],
		 ++attachment->tag_number);
}

uint8_t rabbitmq_source_consumer_of(amqp_bytes_t tag)
{
	uint8_t queue = RABBITMQ_QUEUES;

	for (uint8_t i = 0; i < RABBITMQ_QUEUES; ++i) // of both that fit, the longer one
		if (tag.len > strlen(words[i]) &&
		    memcmp(tag.bytes, words[i], strlen(words[i])) == 0)
			queue = i;
	return queue;
}

bool rabbitmq_source_consumer_runs(const struct queue_attachment *attachment)
{
	return attachment->consumers[RABBITMQ_MAIN] || attachment->consumers[RABBITMQ_RETRY];
}

// ---- beginning

static bool is_single(const struct queue_attachment *attachment)
{
	return attachment->prefetch == 1 && attachment->has_retry;
}

static uint32_t share_of(const struct queue_attachment *attachment, uint8_t queue)
{
	uint32_t retry = MAX(attachment->prefetch / RETRY_SHARE, 1u);

	if (attachment->prefetch == 1)
		return 1;
	return queue == RABBITMQ_RETRY ? retry : attachment->prefetch - retry;
}

static void start(struct queue_attachment *attachment, uint8_t queue)
{
	uint32_t share = share_of(attachment, queue);
	amqp_basic_qos_t qos = {.prefetch_count = (uint16_t)MIN(share, (uint32_t)UINT16_MAX)};
	amqp_basic_consume_t consume = {.queue = amqp_cstring_bytes(attachment->names[queue])};

	assert(attachment->consumers[queue] == RABBITMQ_CONSUMER_NONE);
	tag_set(attachment, queue);
	consume.consumer_tag = amqp_cstring_bytes(attachment->tags[queue]);
	attachment->consumers[queue] = RABBITMQ_CONSUMER_STARTING;
	rabbitmq_source_channel_send(attachment, RABBITMQ_EXPECT_QOS, queue, AMQP_BASIC_QOS_METHOD,
				     &qos);
	rabbitmq_source_channel_send(attachment, RABBITMQ_EXPECT_CONSUME, queue,
				     AMQP_BASIC_CONSUME_METHOD, &consume);
}

static void look_for_choice(struct queue_attachment *attachment)
{
	if (!attachment->choosing)
		rabbitmq_source_channel_look(attachment, RABBITMQ_EXPECT_CHOICE, RABBITMQ_RETRY);
	attachment->choosing = true;
}

void rabbitmq_source_consumer_begin(struct queue_attachment *attachment, uint32_t prefetch)
{
	assert(!attachment->prefetch && !rabbitmq_source_consumer_runs(attachment));
	attachment->prefetch = prefetch;
	attachment->since_tag = attachment->outstanding.last;
	if (is_single(attachment)) {
		look_for_choice(attachment);
		return;
	}
	if (attachment->has_retry)
		start(attachment, RABBITMQ_RETRY); // what was due comes before what is new
	start(attachment, RABBITMQ_MAIN);
}

void rabbitmq_source_consumer_retry(struct queue_attachment *attachment)
{
	if (attachment->has_retry || attachment->state == RABBITMQ_SOURCE_NONE)
		return;
	attachment->has_retry = true;
	if (!attachment->prefetch || attachment->cancelling)
		return;
	if (is_single(attachment))
		look_for_choice(attachment);
	else if (attachment->state == RABBITMQ_SOURCE_OPEN)
		start(attachment, RABBITMQ_RETRY);
}

void rabbitmq_source_consumer_started(struct queue_attachment *attachment, uint8_t queue)
{
	if (attachment->consumers[queue] == RABBITMQ_CONSUMER_STARTING)
		attachment->consumers[queue] = RABBITMQ_CONSUMER_RUNNING;
}

// ---- ending

static void cancel_one(struct queue_attachment *attachment, uint8_t queue)
{
	amqp_basic_cancel_t cancel = {.consumer_tag = amqp_cstring_bytes(attachment->tags[queue])};

	if (attachment->consumers[queue] == RABBITMQ_CONSUMER_NONE ||
	    attachment->consumers[queue] == RABBITMQ_CONSUMER_CANCELLING)
		return;
	attachment->consumers[queue] = RABBITMQ_CONSUMER_CANCELLING;
	rabbitmq_source_channel_send(attachment, RABBITMQ_EXPECT_CANCEL, queue,
				     AMQP_BASIC_CANCEL_METHOD, &cancel);
}

static void end_if_cancelled(struct queue_attachment *attachment)
{
	if (rabbitmq_source_consumer_runs(attachment))
		return;
	attachment->cancelling = false;
	attachment->prefetch = 0;
	rabbitmq_events_cancelled(attachment);
	rabbitmq_source_channel_detach_on(attachment);
}

void rabbitmq_source_consumer_cancel(struct queue_attachment *attachment)
{
	assert(attachment->prefetch && !attachment->cancelling);
	attachment->cancelling = true;
	loop_timer_cancel(&attachment->choice_timer);
	for (uint8_t queue = 0; queue < RABBITMQ_QUEUES; ++queue)
		cancel_one(attachment, queue);
	end_if_cancelled(attachment);
}

void rabbitmq_source_consumer_cancelled(struct queue_attachment *attachment, uint8_t queue)
{
	attachment->consumers[queue] = RABBITMQ_CONSUMER_NONE;
	if (attachment->cancelling)
		end_if_cancelled(attachment);
	else
		rabbitmq_source_consumer_room(attachment);
}

void rabbitmq_source_consumer_reset(struct queue_attachment *attachment)
{
	loop_timer_cancel(&attachment->choice_timer);
	memset(attachment->consumers, RABBITMQ_CONSUMER_NONE, sizeof attachment->consumers);
	attachment->prefetch = 0;
	attachment->cancelling = attachment->choosing = false;
}

// ---- one place for two queues

// The place is free: no consumer is there, and nothing of it is unacknowledged.
void rabbitmq_source_consumer_room(struct queue_attachment *attachment)
{
	if (!is_single(attachment) || attachment->cancelling || attachment->choosing ||
	    rabbitmq_source_consumer_runs(attachment))
		return;
	if (rabbitmq_outstanding_after(&attachment->outstanding, attachment->since_tag) == 0)
		start(attachment, attachment->chosen);
}

void rabbitmq_source_consumer_choose(struct queue_attachment *attachment, bool retry)
{
	uint8_t other = retry ? RABBITMQ_MAIN : RABBITMQ_RETRY;

	attachment->choosing = false;
	if (!is_single(attachment) || attachment->cancelling)
		return;
	attachment->chosen = retry ? RABBITMQ_RETRY : RABBITMQ_MAIN;
	cancel_one(attachment, other);
	rabbitmq_source_consumer_room(attachment);
	loop_timer_set(&attachment->choice_timer,
		       loop_now_ns(rabbitmq_link_loop(attachment->adapter->receive)) + CHOICE_NS);
}

static void on_choice_timer(struct loop_timer *timer)
{
	look_for_choice(CONTAINER_OF(timer, struct queue_attachment, choice_timer));
}

void rabbitmq_source_consumer_init(struct queue_attachment *attachment)
{
	loop_timer_init(&attachment->choice_timer, rabbitmq_link_loop(attachment->adapter->receive),
			on_choice_timer);
}
