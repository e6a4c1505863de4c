// A source's channel: it is opened when the queue has no consumer of an earlier one any more, and
// it is ended by an error of ours.
//
// **Opening.** The link opens the channel when the connection is there; until then, and over every
// connection that fails meanwhile, open() stays unanswered. Then the queues are looked at (passive
// declare: messages and consumers) until none has a consumer. A consumer that stays is not one of
// ours that is dead: the broker ends a connection that is silent for two heartbeats. So after two
// heartbeats and a second the rest is taken for native clients that consume beside the group (an
// imported queue, a migration), or for an owner that is alive and will notice. Their number is
// kept: the next channel need not wait for them. If one of them leaves in just that time, a dead
// consumer of ours may be taken for it; what comes again then comes out of order.
//
// **Ending.** An acknowledgement of a tag that never was: the broker closes the channel (406) and
// gives back what was handed out, in order and before anything new. Only a channel that has nothing
// handed out is closed in order, which spares the broker a line in its log.
//
// **A queue that is not there** answers 404 and closes the channel. A broker says 404, too, of a
// classic queue whose node is down: that queue is not gone. A queue without a consumer is deleted
// in silence, and so is a topic: both are looked for when the channel is opened, and then every
// STILL_NS; what has no source is looked for by ask/presence.c. Of a topic it is the marker that is
// looked for, which is there until we delete the topic: what waits in the queue of an exchange that
// another client has deleted is still consumed.
//
// Invariants: what is expected is a list in the order of the requests. Looks are answered in that
// order; the answers about consumers may come behind those of later requests, and name their
// consumer. An answer to nothing is an error of the broker and ends the channel. The end
// of a channel is told once, by closed().

#include "adapters/rabbitmq/receive/source_channel.h"

#include "adapters/rabbitmq/ask/presence.h"
#include "adapters/rabbitmq/receive/events.h"
#include "adapters/rabbitmq/receive/hold_limit.h"
#include "adapters/rabbitmq/receive/source_ack.h"
#include "adapters/rabbitmq/receive/source_arrival.h"
#include "adapters/rabbitmq/receive/source_consumer.h"
#include "adapters/rabbitmq/receive/source_replay.h"

#include <stdio.h>

#define LOOK_NS   (50 * MS_NS)
#define STILL_NS  (4 * S_NS)
#define NEVER_TAG 0x7fffffffffffffffull // no channel hands out that number
#define MARGIN_NS S_NS
#define NOT_FOUND 404u
#define NODE_DOWN "down or inaccessible" // in the text of a 404

static const struct rabbitmq_channel_handlers channel_handlers;

static struct queue_attachment *attachment_of(struct rabbitmq_channel *channel)
{
	return CONTAINER_OF(channel, struct queue_attachment, channel);
}

static uint64_t now_ns(const struct queue_attachment *attachment)
{
	return loop_now_ns(rabbitmq_link_loop(attachment->adapter->receive));
}

// ---- ending

static void end_set(struct queue_attachment *attachment, enum code code, const char *text)
{
	attachment->end.code = code;
	snprintf(attachment->end.text, sizeof attachment->end.text, "%s", text);
	attachment->state = RABBITMQ_SOURCE_ENDING;
}

void rabbitmq_source_channel_cut(struct queue_attachment *attachment, enum code code,
				 const char *text)
{
	amqp_basic_ack_t never = {.delivery_tag = NEVER_TAG};

	if (attachment->state == RABBITMQ_SOURCE_NONE ||
	    attachment->state == RABBITMQ_SOURCE_ENDING)
		return;
	if (attachment->state != RABBITMQ_SOURCE_OPEN) {
		end_set(attachment, code, text);
		rabbitmq_channel_close(&attachment->channel);
		return;
	}
	end_set(attachment, code, text);
	rabbitmq_channel_send(&attachment->channel, AMQP_BASIC_ACK_METHOD, &never);
}

static bool has_handed_out(const struct queue_attachment *attachment)
{
	for (uint8_t queue = 0; queue < RABBITMQ_QUEUES; ++queue)
		if (attachment->outstanding.open[queue] ||
		    rabbitmq_source_consumer_count(attachment, queue, RABBITMQ_CONSUMER_STARTING) ||
		    rabbitmq_source_consumer_count(attachment, queue, RABBITMQ_CONSUMER_RUNNING))
			return true;
	return false;
}

void rabbitmq_source_channel_detach(struct queue_attachment *attachment)
{
	attachment->detach = true;
	loop_timer_cancel(&attachment->look_timer);
	if (attachment->state == RABBITMQ_SOURCE_NONE) {
		rabbitmq_events_detached(attachment);
	} else if (attachment->state == RABBITMQ_SOURCE_OPEN && has_handed_out(attachment)) {
		rabbitmq_source_channel_cut(attachment, CODE_OK, "");
	} else if (attachment->state != RABBITMQ_SOURCE_ENDING) {
		end_set(attachment, CODE_OK, "");
		rabbitmq_channel_close(&attachment->channel);
	}
}

// ---- what is expected

void rabbitmq_source_channel_send(struct queue_attachment *attachment, enum rabbitmq_expected what,
				  uint8_t queue, amqp_method_number_t id, void *decoded)
{
	assert(attachment->expected_count < RABBITMQ_EXPECTATIONS);
	attachment->expected[attachment->expected_count++] = (struct rabbitmq_expectation){
		.what = what, .queue = queue, .asked = attachment->acks};
	rabbitmq_channel_send(&attachment->channel, id, decoded); // false: closed() comes
}

void rabbitmq_source_channel_look(struct queue_attachment *attachment, enum rabbitmq_expected what,
				  uint8_t queue)
{
	amqp_queue_declare_t look = {.queue = amqp_cstring_bytes(attachment->names[queue]),
				     .passive = true};

	rabbitmq_source_channel_send(attachment, what, queue, AMQP_QUEUE_DECLARE_METHOD, &look);
}

bool rabbitmq_source_channel_expects(const struct queue_attachment *attachment,
				     enum rabbitmq_expected what)
{
	for (unsigned i = 0; i < attachment->expected_count; ++i)
		if (attachment->expected[i].what == what)
			return true;
	return false;
}

static amqp_method_number_t answer_of(enum rabbitmq_expected what)
{
	switch (what) {
	case RABBITMQ_EXPECT_QOS: return AMQP_BASIC_QOS_OK_METHOD;
	case RABBITMQ_EXPECT_CONSUME: return AMQP_BASIC_CONSUME_OK_METHOD;
	case RABBITMQ_EXPECT_CANCEL: return AMQP_BASIC_CANCEL_OK_METHOD;
	case RABBITMQ_EXPECT_GET: return AMQP_BASIC_GET_EMPTY_METHOD;
	case RABBITMQ_EXPECT_MARKER: return AMQP_EXCHANGE_DECLARE_OK_METHOD;
	default: return AMQP_QUEUE_DECLARE_OK_METHOD;
	}
}

// The oldest request that this may be the answer to; false: there is none.
static bool expected_take(struct queue_attachment *attachment, amqp_method_number_t answer,
			  struct rabbitmq_expectation *ret)
{
	struct rabbitmq_expectation *at = attachment->expected;
	struct rabbitmq_expectation *end = at + attachment->expected_count;

	while (at < end && answer_of(at->what) != answer)
		++at;
	if (at == end)
		return false;
	*ret = *at;
	memmove(at, at + 1, (size_t)(end - at - 1) * sizeof *at);
	--attachment->expected_count;
	return true;
}

// ---- is it still there?

// An imported exchange has no marker: it stays when its topic is deleted here.
static void marker_look(struct queue_attachment *attachment)
{
	amqp_exchange_declare_t look = {.exchange = amqp_cstring_bytes(attachment->marker.text),
					.type = amqp_cstring_bytes("fanout"),
					.passive = true};

	if (!attachment->to.topic->imported)
		rabbitmq_source_channel_send(attachment, RABBITMQ_EXPECT_MARKER, RABBITMQ_MAIN,
					     AMQP_EXCHANGE_DECLARE_METHOD, &look);
}

static void still_later(struct queue_attachment *attachment)
{
	loop_timer_set(&attachment->still_timer, now_ns(attachment) + STILL_NS);
}

static void on_still_timer(struct loop_timer *timer)
{
	struct queue_attachment *attachment =
		CONTAINER_OF(timer, struct queue_attachment, still_timer);

	if (attachment->state != RABBITMQ_SOURCE_OPEN)
		return;
	if (!attachment->expected_count) {
		marker_look(attachment);
		rabbitmq_source_channel_look(attachment, RABBITMQ_EXPECT_STILL, RABBITMQ_MAIN);
	}
	still_later(attachment);
}

// ---- opening

static bool is_used(const struct queue_attachment *attachment, uint8_t queue)
{
	return queue == RABBITMQ_MAIN || (queue == RABBITMQ_RETRY && attachment->has_retry) ||
	       (queue == RABBITMQ_REPLAY && attachment->replaying);
}

static void look(struct queue_attachment *attachment)
{
	if (!attachment->looked_ns)
		marker_look(attachment);
	attachment->state = RABBITMQ_SOURCE_LOOKING;
	attachment->looks = 0;
	for (uint8_t queue = 0; queue < RABBITMQ_QUEUES; ++queue) {
		if (!is_used(attachment, queue))
			continue;
		++attachment->looks;
		rabbitmq_source_channel_look(attachment, RABBITMQ_EXPECT_LOOK, queue);
	}
}

static void on_look_timer(struct loop_timer *timer)
{
	look(CONTAINER_OF(timer, struct queue_attachment, look_timer));
}

static bool has_others(const struct queue_attachment *attachment)
{
	for (uint8_t queue = 0; queue < RABBITMQ_QUEUES; ++queue)
		if (attachment->there[queue] > attachment->others[queue])
			return true;
	return false;
}

static uint64_t wait_max_ns(const struct queue_attachment *attachment)
{
	return 2 * attachment->adapter->options.heartbeat_s * S_NS + MARGIN_NS;
}

static void ready_to_consume(struct queue_attachment *attachment)
{
	attachment->looked_ns = 0;
	memcpy(attachment->others, attachment->there, sizeof attachment->others);
	attachment->state = RABBITMQ_SOURCE_OPEN;
	attachment->seen_ns = now_ns(attachment);
	still_later(attachment);
	rabbitmq_presence_seen(attachment->adapter, attachment->to.group, 0);
	rabbitmq_source_arrival_reset(attachment, attachment->ready);
	rabbitmq_source_replay_run(attachment);
	rabbitmq_events_opened(attachment);
}

static void looked(struct queue_attachment *attachment, uint8_t queue,
		   const amqp_queue_declare_ok_t *found)
{
	uint64_t time_ns = now_ns(attachment);

	attachment->there[queue] = found->consumer_count;
	attachment->ready[queue] = found->message_count;
	if (--attachment->looks > 0)
		return;
	if (!attachment->looked_ns)
		attachment->looked_ns = time_ns;
	if (!has_others(attachment) || time_ns >= attachment->looked_ns + wait_max_ns(attachment)) {
		ready_to_consume(attachment);
		return;
	}
	attachment->state = RABBITMQ_SOURCE_WAITING;
	loop_timer_set(&attachment->look_timer, time_ns + LOOK_NS);
}

static void channel_open(struct queue_attachment *attachment)
{
	attachment->state = RABBITMQ_SOURCE_OPENING;
	rabbitmq_channel_open(attachment->adapter->receive, &attachment->channel,
			      &channel_handlers);
}

void rabbitmq_source_channel_open(struct queue_attachment *attachment, uint64_t epoch,
				  bool has_retry, bool has_replay)
{
	assert(attachment->state == RABBITMQ_SOURCE_NONE && !attachment->detach);
	attachment->epoch = epoch;
	attachment->has_retry = has_retry;
	rabbitmq_source_replay_begin(attachment, has_replay);
	attachment->looked_ns = 0;
	memset(attachment->there, 0, sizeof attachment->there);
	memset(attachment->ready, 0, sizeof attachment->ready);
	channel_open(attachment);
}

static void on_opened(struct rabbitmq_channel *channel)
{
	struct queue_attachment *attachment = attachment_of(channel);

	if (attachment->state == RABBITMQ_SOURCE_OPENING)
		look(attachment);
}

// ---- barriers, counts

// Native clients that have left are not waited for by the next channel.
static void note_others(struct queue_attachment *attachment, uint8_t queue, uint32_t consumers)
{
	unsigned ours =
		rabbitmq_source_consumer_count(attachment, queue, RABBITMQ_CONSUMER_RUNNING);

	if (consumers >= ours)
		attachment->others[queue] = MIN(attachment->others[queue], consumers - ours);
}

static void barrier_answered(struct queue_attachment *attachment)
{
	if (rabbitmq_source_channel_expects(attachment, RABBITMQ_EXPECT_BARRIER))
		return; // of the other queue
	rabbitmq_events_passed(attachment);
	rabbitmq_source_replay_run(attachment);
}

void rabbitmq_source_channel_count(struct queue_attachment *attachment)
{
	memset(attachment->counted, 0, sizeof attachment->counted);
	if (attachment->state != RABBITMQ_SOURCE_OPEN) {
		rabbitmq_events_counted(attachment, false);
		return;
	}
	attachment->counting = true;
	for (uint8_t queue = 0; queue < RABBITMQ_QUEUES; ++queue)
		if (is_used(attachment, queue))
			rabbitmq_source_channel_look(attachment, RABBITMQ_EXPECT_COUNT, queue);
}

static void count_end(struct queue_attachment *attachment, bool ok)
{
	if (!attachment->counting)
		return;
	attachment->counting = false;
	rabbitmq_events_counted(attachment, ok);
}

static void count_answered(struct queue_attachment *attachment, uint8_t queue, uint32_t messages)
{
	attachment->counted[queue] = messages;
	if (!rabbitmq_source_channel_expects(attachment, RABBITMQ_EXPECT_COUNT))
		count_end(attachment, true);
}

// ---- what the broker says

static void answered(struct queue_attachment *attachment, struct rabbitmq_expectation expected,
		     void *decoded)
{
	const amqp_queue_declare_ok_t *found = decoded;
	const amqp_basic_consume_ok_t *consumed = decoded;
	const amqp_basic_cancel_ok_t *cancelled = decoded;

	if (attachment->state == RABBITMQ_SOURCE_OPEN)
		attachment->seen_ns = now_ns(attachment);
	switch ((enum rabbitmq_expected)expected.what) {
	case RABBITMQ_EXPECT_LOOK: looked(attachment, expected.queue, found); break;
	case RABBITMQ_EXPECT_BARRIER:
		note_others(attachment, expected.queue, found->consumer_count);
		barrier_answered(attachment);
		break;
	case RABBITMQ_EXPECT_COUNT:
		count_answered(attachment, expected.queue, found->message_count);
		break;
	case RABBITMQ_EXPECT_PROOF:
		rabbitmq_source_ack_looked(attachment, expected.queue, found->message_count);
		break;
	case RABBITMQ_EXPECT_GET:
		rabbitmq_source_ack_got(attachment, expected.queue, expected.asked);
		break;
	case RABBITMQ_EXPECT_FATE:
		rabbitmq_source_channel_cut(attachment, CODE_BACKEND_ERROR,
					    "the broker has ended the consumer");
		break;
	case RABBITMQ_EXPECT_STILL:
		rabbitmq_presence_seen(attachment->adapter, attachment->to.group, 0);
		break;
	case RABBITMQ_EXPECT_DRAINED:
		rabbitmq_source_replay_looked(attachment, found->message_count);
		break;
	case RABBITMQ_EXPECT_MARKER:
	case RABBITMQ_EXPECT_QOS: break;
	case RABBITMQ_EXPECT_CONSUME:
		rabbitmq_source_consumer_started(attachment, consumed->consumer_tag);
		break;
	case RABBITMQ_EXPECT_CANCEL:
		rabbitmq_source_consumer_cancelled(attachment, cancelled->consumer_tag);
		break;
	}
}

// The broker has ended a consumer: its queue was deleted, or its node is lost.
static void consumer_ended(struct queue_attachment *attachment, const amqp_basic_cancel_t *cancel)
{
	struct rabbitmq_consumer *consumer =
		rabbitmq_source_consumer_of(attachment, cancel->consumer_tag);

	if (!consumer)
		return;
	attachment->end.look_again |= consumer->queue != RABBITMQ_MAIN;
	rabbitmq_source_channel_look(attachment, RABBITMQ_EXPECT_FATE, consumer->queue);
}

bool rabbitmq_source_channel_got(struct queue_attachment *attachment,
				 struct rabbitmq_expectation *ret)
{
	return expected_take(attachment, answer_of(RABBITMQ_EXPECT_GET), ret);
}

static void on_method(struct rabbitmq_channel *channel, const amqp_method_t *method)
{
	struct queue_attachment *attachment = attachment_of(channel);
	struct rabbitmq_expectation expected;

	if (attachment->state == RABBITMQ_SOURCE_ENDING)
		return;
	if (method->id == AMQP_BASIC_CANCEL_METHOD) {
		if (!rabbitmq_source_channel_expects(attachment, RABBITMQ_EXPECT_FATE))
			consumer_ended(attachment, method->decoded);
		return;
	}
	if (!expected_take(attachment, method->id, &expected)) {
		rabbitmq_source_channel_cut(attachment, CODE_PROTOCOL,
					    "the broker answers what was not asked");
		return;
	}
	answered(attachment, expected, method->decoded);
}

// ---- the end

static bool is_opening(uint8_t state)
{
	return state == RABBITMQ_SOURCE_OPENING || state == RABBITMQ_SOURCE_LOOKING ||
	       state == RABBITMQ_SOURCE_WAITING;
}

// Has the connection ended? The link brings another.
static bool may_reopen(uint8_t state, enum code code)
{
	return is_opening(state) &&
	       (code == CODE_BACKEND_DOWN || code == CODE_CONNECTION_LOST || code == CODE_TIMEOUT);
}

static bool is_declare(const struct rabbitmq_expectation *expected)
{
	return answer_of(expected->what) == AMQP_QUEUE_DECLARE_OK_METHOD;
}

static bool names_marker(const struct queue_attachment *attachment, const char *text)
{
	return text && strstr(text, attachment->marker.text);
}

// Which queue a 404 is about: the one that its text names, or the first that was asked for.
// RABBITMQ_QUEUES: none of them.
static unsigned missing_queue(const struct queue_attachment *attachment, uint16_t reply,
			      const char *text)
{
	char quoted[RABBITMQ_NAME_MAX + 3];

	if (reply != NOT_FOUND || (text && strstr(text, NODE_DOWN)))
		return RABBITMQ_QUEUES;
	if (names_marker(attachment, text))
		return RABBITMQ_MAIN; // without its topic it is as gone
	for (unsigned queue = 0; text && queue < RABBITMQ_QUEUES; ++queue) {
		snprintf(quoted, sizeof quoted, "'%s'", attachment->names[queue]);
		if (strstr(text, quoted))
			return queue;
	}
	for (unsigned i = 0; i < attachment->expected_count; ++i)
		if (is_declare(&attachment->expected[i]))
			return attachment->expected[i].queue;
	return RABBITMQ_QUEUES;
}

// An operator is told when that has happened. A topic that is not there was deleted here.
static void gone_describe(struct queue_attachment *attachment, const char *text)
{
	struct adapter *adapter = attachment->adapter;

	if (names_marker(attachment, text)) {
		snprintf(attachment->gone_text, sizeof attachment->gone_text,
			 "the topic of queue %s is not on cluster %s",
			 attachment->names[RABBITMQ_MAIN], adapter->cluster);
		return;
	}
	if (attachment->seen_ns)
		rabbitmq_presence_seen(adapter, attachment->to.group,
				       now_ns(attachment) - attachment->seen_ns);
	rabbitmq_presence_missing(adapter, attachment->to.group, attachment->gone_text);
}

static void tell_end(struct queue_attachment *attachment, uint8_t state, unsigned missing,
		     enum code code, const char *text)
{
	struct rabbitmq_end *end = &attachment->end;

	if (missing == RABBITMQ_MAIN) {
		gone_describe(attachment, text);
		rabbitmq_events_gone(attachment);
		return;
	}
	if (state != RABBITMQ_SOURCE_ENDING) {
		end->code = code == CODE_OK ? CODE_CONNECTION_LOST : code;
		snprintf(end->text, sizeof end->text, "%s", text ? text : code_sentence(end->code));
	}
	end->look_again |= missing != RABBITMQ_QUEUES;
	end->hold_ms = attachment->hold_ms;
	rabbitmq_events_lost(attachment, end);
	*end = (struct rabbitmq_end){0};
}

// One that is longer than was said changes nothing: then that is what an operator knows.
static void hold_learn(struct queue_attachment *attachment, const char *text)
{
	uint64_t ms;

	if (!rabbitmq_hold_limit_read(text, &ms) || ms >= attachment->hold_ms)
		return;
	log_warn(attachment->adapter->log, "RABBITMQ-CONSUMER-TIMEOUT",
		 "group %s: the broker waits %llu ms for an acknowledgement and not %llu ms; what "
		 "is held for half of that is published anew from now on",
		 attachment->to.group->name, (unsigned long long)ms,
		 (unsigned long long)attachment->hold_ms);
	attachment->hold_ms = ms;
}

static void on_closed(struct rabbitmq_channel *channel, enum code code, uint16_t reply,
		      const char *text)
{
	struct queue_attachment *attachment = attachment_of(channel);
	unsigned missing = missing_queue(attachment, reply, text);
	uint8_t state = attachment->state;

	hold_learn(attachment, text);
	attachment->state = RABBITMQ_SOURCE_NONE;
	attachment->expected_count = 0;
	loop_timer_cancel(&attachment->look_timer);
	loop_timer_cancel(&attachment->still_timer);
	rabbitmq_source_consumer_reset(attachment);
	rabbitmq_source_arrival_end(attachment);
	rabbitmq_source_ack_reset(attachment);
	rabbitmq_source_replay_end(attachment);
	count_end(attachment, false);
	if (attachment->detach)
		rabbitmq_events_detached(attachment);
	else if (may_reopen(state, code))
		channel_open(attachment);
	else
		tell_end(attachment, state, missing, code, text);
}

static void on_head(struct rabbitmq_channel *channel, const struct rabbitmq_head *head)
{
	rabbitmq_source_arrival_head(attachment_of(channel), head);
}

static void on_body(struct rabbitmq_channel *channel, const uint8_t *data, size_t size)
{
	rabbitmq_source_arrival_body(attachment_of(channel), data, size);
}

static const struct rabbitmq_channel_handlers channel_handlers = {.opened = on_opened,
								  .closed = on_closed,
								  .method = on_method,
								  .head = on_head,
								  .body = on_body};

void rabbitmq_source_channel_init(struct queue_attachment *attachment)
{
	struct loop *loop = rabbitmq_link_loop(attachment->adapter->receive);

	loop_timer_init(&attachment->look_timer, loop, on_look_timer);
	loop_timer_init(&attachment->still_timer, loop, on_still_timer);
	rabbitmq_source_consumer_init(attachment);
	rabbitmq_source_ack_init(attachment);
	rabbitmq_source_replay_init(attachment);
}
