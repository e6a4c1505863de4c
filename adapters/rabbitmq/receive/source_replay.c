// `.replay` first, then the group's queue.
//
// `.replay` is a queue of the source as the two others are. While it may have messages the group's
// queue has no consumer. Nothing is put into it while a source is open. When nothing has come of it
// for a moment it is asked whether it is empty, LOOKS times, so that nothing is on its way from it;
// then its consumer is cancelled, and the group's queue is consumed, also while some of `.replay`
// is still in flight: a consumer may want more before it settles. When all of it is acknowledged,
// and the acknowledgements have passed, it is deleted, if it is empty: what a broker has kept of it
// all the same is found when the next channel is opened.
//
// Invariant: what is handed out of the group's queue comes behind everything that `.replay` had.

#include "adapters/rabbitmq/receive/source_replay.h"

#include "adapters/rabbitmq/ask/ask.h"
#include "adapters/rabbitmq/receive/source_channel.h"
#include "adapters/rabbitmq/receive/source_consumer.h"

#define LOOKS    2u
#define AGAIN_NS (30 * MS_NS)
#define WAITS_NS (500 * MS_NS) // when it has messages that are not wanted now

// ---- the end of `.replay`

struct removal {
	struct rabbitmq_ask ask;
	struct rabbitmq_step step;
	struct rabbitmq_name name;
};

static void removal_ask(struct removal *removal, struct adapter *adapter, enum rabbitmq_verb verb,
			void (*done)(struct rabbitmq_ask *ask, enum code code, const char *text))
{
	removal->step = (struct rabbitmq_step){
		.verb = (uint8_t)verb, .may_miss = true, .name = removal->name.text};
	removal->ask = (struct rabbitmq_ask){
		.adapter = adapter, .steps = &removal->step, .count = 1, .done = done};
	rabbitmq_ask_run(&removal->ask);
}

static void on_removed(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	free(CONTAINER_OF(ask, struct removal, ask));
}

// A quorum queue cannot be asked to be deleted if it is empty: that ends the connection (540).
static void on_looked(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct removal *removal = CONTAINER_OF(ask, struct removal, ask);

	if (code == CODE_OK && !removal->step.missing && !removal->step.messages)
		removal_ask(removal, ask->adapter, RABBITMQ_QUEUE_DELETE, on_removed);
	else
		free(removal);
}

// Without memory it stays, empty.
static void queue_remove(const struct queue_attachment *attachment)
{
	struct removal *removal = calloc(1, sizeof *removal);

	if (!removal)
		return;
	removal->name = attachment->replay_name;
	removal_ask(removal, attachment->adapter, RABBITMQ_QUEUE_LOOK, on_looked);
}

static bool has_consumer(const struct queue_attachment *attachment,
			 enum rabbitmq_consumer_state state)
{
	return rabbitmq_source_consumer_count(attachment, RABBITMQ_REPLAY, state) > 0;
}

static bool is_settled(const struct queue_attachment *attachment)
{
	return !attachment->outstanding.open[RABBITMQ_REPLAY] && !attachment->barrier &&
	       !(attachment->unacked & 1u << RABBITMQ_REPLAY) &&
	       !attachment->proving[RABBITMQ_REPLAY] &&
	       !rabbitmq_source_channel_expects(attachment, RABBITMQ_EXPECT_BARRIER) &&
	       !has_consumer(attachment, RABBITMQ_CONSUMER_STARTING) &&
	       !has_consumer(attachment, RABBITMQ_CONSUMER_CANCELLING);
}

// A proof may have begun another consumer of it.
static void remove_if_settled(struct queue_attachment *attachment)
{
	if (!is_settled(attachment) || rabbitmq_source_consumer_cancel(attachment, RABBITMQ_REPLAY))
		return;
	attachment->removing = false;
	queue_remove(attachment);
}

static void go_on(struct queue_attachment *attachment)
{
	attachment->replaying = false;
	attachment->removing = true;
	attachment->unproven[RABBITMQ_REPLAY] = 0;
	loop_timer_cancel(&attachment->drain_timer);
}

// ---- is it empty?

static void look_later(struct queue_attachment *attachment, uint64_t pause_ns)
{
	loop_timer_set(&attachment->drain_timer,
		       loop_now_ns(rabbitmq_link_loop(attachment->adapter->receive)) + pause_ns);
}

static void on_drain_timer(struct loop_timer *timer)
{
	struct queue_attachment *attachment =
		CONTAINER_OF(timer, struct queue_attachment, drain_timer);

	if (attachment->state != RABBITMQ_SOURCE_OPEN || !attachment->replaying)
		return;
	if (attachment->replayed != attachment->replayed_before) {
		attachment->replayed_before = attachment->replayed;
		attachment->drained = 0;
		look_later(attachment, AGAIN_NS);
	} else if (!attachment->drain_asked) {
		attachment->drain_asked = true;
		rabbitmq_source_channel_look(attachment, RABBITMQ_EXPECT_DRAINED, RABBITMQ_REPLAY);
	}
}

void rabbitmq_source_replay_looked(struct queue_attachment *attachment, uint64_t messages)
{
	attachment->drain_asked = false;
	if (!attachment->replaying || attachment->state != RABBITMQ_SOURCE_OPEN)
		return;
	if (messages || attachment->replayed != attachment->replayed_before ||
	    has_consumer(attachment, RABBITMQ_CONSUMER_STARTING) ||
	    has_consumer(attachment, RABBITMQ_CONSUMER_CANCELLING))
		attachment->drained = 0;
	else
		++attachment->drained;
	if (attachment->drained < LOOKS) {
		look_later(attachment, messages ? WAITS_NS : AGAIN_NS);
	} else if (!rabbitmq_source_consumer_cancel(attachment, RABBITMQ_REPLAY)) {
		go_on(attachment);
		rabbitmq_source_consumer_free(attachment);
	}
}

void rabbitmq_source_replay_cancelled(struct queue_attachment *attachment)
{
	if (attachment->replaying && attachment->drained >= LOOKS &&
	    !has_consumer(attachment, RABBITMQ_CONSUMER_CANCELLING))
		go_on(attachment);
	else if (attachment->removing)
		remove_if_settled(attachment);
}

void rabbitmq_source_replay_run(struct queue_attachment *attachment)
{
	if (attachment->state != RABBITMQ_SOURCE_OPEN)
		return;
	if (attachment->removing)
		remove_if_settled(attachment);
	else if (attachment->replaying && !attachment->drain_asked &&
		 !attachment->drain_timer.at_ns)
		look_later(attachment, AGAIN_NS);
}

// ---- channels

void rabbitmq_source_replay_begin(struct queue_attachment *attachment, bool replaying)
{
	attachment->replaying = replaying;
	attachment->removing = attachment->drain_asked = false;
	attachment->drained = 0;
	attachment->replayed = attachment->replayed_before = 0;
}

void rabbitmq_source_replay_end(struct queue_attachment *attachment)
{
	loop_timer_cancel(&attachment->drain_timer);
}

void rabbitmq_source_replay_init(struct queue_attachment *attachment)
{
	loop_timer_init(&attachment->drain_timer, rabbitmq_link_loop(attachment->adapter->receive),
			on_drain_timer);
}
