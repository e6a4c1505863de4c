// `.replay` first, then the group's queue.
//
// The first queue of a source is `.replay` as long as that has messages: the same consumers, gate,
// acknowledgements and proofs. Nothing is put into it while a source is open. When all that it
// handed out is acknowledged, and the acknowledgements have passed, it is asked whether it is
// empty, LOOKS times, so that nothing is on its way from it. Then its consumer is cancelled, and
// the group's queue takes its place on the same channel: nothing is lost of what is in flight from
// `.retry`. Last it is deleted, if it is empty: what a broker has kept of it all the same is found
// when the next source is opened.
//
// Invariant: what is handed out of the group's queue comes behind everything that `.replay` had.

#include "adapters/rabbitmq/receive/source_replay.h"

#include "adapters/rabbitmq/ask/ask.h"
#include "adapters/rabbitmq/receive/source_channel.h"
#include "adapters/rabbitmq/receive/source_consumer.h"

#define LOOKS    2u
#define AGAIN_NS (20 * MS_NS)

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

static void go_on(struct queue_attachment *attachment)
{
	attachment->replaying = false;
	attachment->names[RABBITMQ_MAIN] = attachment->to.group->physical;
	memset(&attachment->proof[RABBITMQ_MAIN], 0, sizeof attachment->proof[RABBITMQ_MAIN]);
	attachment->unproven[RABBITMQ_MAIN] = 0;
	queue_remove(attachment);
}

// ---- is it empty?

static bool has_consumer(const struct queue_attachment *attachment,
			 enum rabbitmq_consumer_state state)
{
	return rabbitmq_source_consumer_count(attachment, RABBITMQ_MAIN, state) > 0;
}

// Nothing of it is here or on its way to be acknowledged.
static bool is_idle(const struct queue_attachment *attachment)
{
	return !attachment->outstanding.open[RABBITMQ_MAIN] &&
	       !attachment->kept_count[RABBITMQ_MAIN] && !attachment->barrier &&
	       !(attachment->unacked & 1u << RABBITMQ_MAIN) &&
	       !attachment->proving[RABBITMQ_MAIN] &&
	       !rabbitmq_source_channel_expects(attachment, RABBITMQ_EXPECT_BARRIER) &&
	       !rabbitmq_source_channel_expects(attachment, RABBITMQ_EXPECT_COUNT) &&
	       !has_consumer(attachment, RABBITMQ_CONSUMER_STARTING) &&
	       !has_consumer(attachment, RABBITMQ_CONSUMER_CANCELLING);
}

void rabbitmq_source_replay_run(struct queue_attachment *attachment)
{
	if (!attachment->replaying || attachment->state != RABBITMQ_SOURCE_OPEN ||
	    attachment->drain_asked || !is_idle(attachment))
		return;
	attachment->drain_asked = true;
	rabbitmq_source_channel_look(attachment, RABBITMQ_EXPECT_DRAINED, RABBITMQ_MAIN);
}

static void on_drain_timer(struct loop_timer *timer)
{
	rabbitmq_source_replay_run(CONTAINER_OF(timer, struct queue_attachment, drain_timer));
}

static void look_again(struct queue_attachment *attachment)
{
	loop_timer_set(&attachment->drain_timer,
		       loop_now_ns(rabbitmq_link_loop(attachment->adapter->receive)) + AGAIN_NS);
}

void rabbitmq_source_replay_looked(struct queue_attachment *attachment, uint64_t messages)
{
	attachment->drain_asked = false;
	if (!attachment->replaying || attachment->state != RABBITMQ_SOURCE_OPEN)
		return;
	if (messages || !is_idle(attachment)) {
		attachment->drained = 0; // what comes of it will be acknowledged, and asks again
		if (!messages)
			look_again(attachment);
		return;
	}
	if (++attachment->drained < LOOKS) {
		look_again(attachment);
	} else if (!rabbitmq_source_consumer_cancel(attachment, RABBITMQ_MAIN)) {
		go_on(attachment);
		rabbitmq_source_consumer_free(attachment);
	}
}

void rabbitmq_source_replay_cancelled(struct queue_attachment *attachment, uint8_t queue)
{
	if (attachment->replaying && queue == RABBITMQ_MAIN && attachment->drained >= LOOKS &&
	    is_idle(attachment) && !has_consumer(attachment, RABBITMQ_CONSUMER_RUNNING))
		go_on(attachment);
}

// ---- channels

void rabbitmq_source_replay_begin(struct queue_attachment *attachment, bool replaying)
{
	attachment->replaying = replaying;
	attachment->drain_asked = false;
	attachment->drained = 0;
	attachment->names[RABBITMQ_MAIN] =
		replaying ? attachment->replay_name.text : attachment->to.group->physical;
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
