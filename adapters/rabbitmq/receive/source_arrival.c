// A delivery becomes an arrival: its head, then its body in pieces.
//
// **What is given back.** The source concludes from the first delivery that was never handed out
// before that everything of its earlier channel has come again (queue.h). A source has two queues
// or three, and a new message of one says nothing of the others. So of each queue it is known how
// many messages the channel before had not acknowledged, at most those that were ready when the new
// channel was opened; until that number has come from a queue, or a message of it that is new, a
// new message of the other ones is marked as given back, too.
//
// **What cannot become a record** is a message larger than any record (MOST_BYTES), which only a
// native client can have sent. It is set aside: it stays unacknowledged at the broker. So nothing
// is lost, and it is seen: the log names the group, the size and the queue, it is an incident while
// the channel lasts, and the broker counts it as unacknowledged. A consumer whose places are taken
// by such messages is followed by another one, up to RABBITMQ_PRESENCE_ASIDE_MAX of them. After the
// broker's consumer_timeout it closes the channel, and the message comes again, with what else was
// unacknowledged. It is not moved to another queue, because a copy needs its whole body in memory:
// up to 128 MiB each, where a group holds 64 MiB in all.

#include "adapters/rabbitmq/receive/source_arrival.h"

#include "adapters/rabbitmq/ask/presence.h"
#include "adapters/rabbitmq/receive/events.h"
#include "adapters/rabbitmq/receive/source_ack.h"
#include "adapters/rabbitmq/receive/source_channel.h"
#include "adapters/rabbitmq/receive/source_consumer.h"

#include <errno.h>

#define MOST_BYTES (16u << 20) // of a record, as core/registry/constraints.c has it

enum arriving { ARRIVING_NONE, ARRIVING_RECORD, ARRIVING_SKIPPED };

// ---- what the channel before held

void rabbitmq_source_arrival_reset(struct queue_attachment *attachment,
				   const uint32_t ready[RABBITMQ_QUEUES])
{
	for (unsigned queue = 0; queue < RABBITMQ_QUEUES; ++queue)
		attachment->unproven[queue] =
			MIN(attachment->outstanding.open[queue], ready[queue]);
	rabbitmq_outstanding_clear(&attachment->outstanding);
}

static bool is_given_back(struct queue_attachment *attachment, uint8_t queue, bool redelivered)
{
	uint32_t *own = &attachment->unproven[queue];
	bool others = false;

	for (uint8_t other = 0; other < RABBITMQ_QUEUES; ++other)
		others |= other != queue && attachment->unproven[other] > 0;
	if (!redelivered)
		*own = 0;
	else if (*own > 0)
		--*own;
	return redelivered || others;
}

// ---- pieces

static void drop(struct queue_attachment *attachment)
{
	if (attachment->arriving_state == ARRIVING_RECORD)
		buf_unref(attachment->arriving.buf);
	attachment->arriving_state = ARRIVING_NONE;
}

void rabbitmq_source_arrival_end(struct queue_attachment *attachment)
{
	drop(attachment);
	if (attachment->aside)
		rabbitmq_presence_too_large(attachment->adapter, attachment->to.group, 0, 0);
	attachment->aside = 0;
}

static uint64_t due_of(const struct rabbitmq_arriving *arriving)
{
	struct record_view view;

	if (arriving->is_copy)
		return arriving->copy.due_ms;
	if (!(record_flags(arriving->buf->data) & RECORD_DUE))
		return 0;
	record_read(arriving->buf->data, &view);
	return (uint64_t)MAX(view.due_ms, 0);
}

static void hand_on(struct queue_attachment *attachment)
{
	const struct rabbitmq_arriving *arriving = &attachment->arriving;
	const struct rabbitmq_copy *copy = &arriving->copy;
	struct queue_arrival *arrival = &attachment->arrival;

	arrival->epoch = attachment->epoch;
	arrival->buf = arriving->buf;
	arrival->record = arriving->buf->data;
	arrival->partition = arriving->is_copy ? copy->partition : arriving->partition;
	arrival->attempts = arriving->is_copy ? copy->attempts : 0;
	arrival->due_ms = due_of(arriving);
	arrival->stored_ms = arriving->is_copy ? copy->stored_ms : arriving->stored_ms;
	arrival->anonymous = arriving->anonymous;
	if (rabbitmq_source_consumer_arrived(attachment, attachment->arriving_queue, arrival,
					     arriving->is_copy && copy->renewal) < 0)
		rabbitmq_source_channel_cut(attachment, CODE_OVERLOADED,
					    "no memory for a delivery");
}

static void complete(struct queue_attachment *attachment)
{
	bool record = attachment->arriving_state == ARRIVING_RECORD;

	attachment->arriving_state = ARRIVING_NONE;
	if (record)
		hand_on(attachment);
	else if (attachment->aside < RABBITMQ_PRESENCE_ASIDE_MAX)
		rabbitmq_source_consumer_set_aside(attachment);
	rabbitmq_source_ack_run(attachment); // what it shows
}

static void set_aside(struct queue_attachment *attachment, const struct rabbitmq_head *head,
		      uint8_t queue)
{
	attachment->arriving_state = ARRIVING_SKIPPED;
	rabbitmq_presence_too_large(attachment->adapter, attachment->to.group, ++attachment->aside,
				    head->body_size);
	log_warn(attachment->adapter->log, "RABBITMQ-TOO-LARGE",
		 "group %s: a message of %llu bytes in queue %s is too large to be handed out; it "
		 "stays there, unacknowledged",
		 attachment->to.group->name, (unsigned long long)head->body_size,
		 attachment->names[queue]);
}

static void begin(struct queue_attachment *attachment, const struct rabbitmq_head *head,
		  uint8_t queue)
{
	int r = rabbitmq_arriving_begin(head->routing_key, head->properties, head->body_size,
					attachment->to.topic->partitions, MOST_BYTES,
					&attachment->arriving);
	bool given_back = is_given_back(attachment, queue, head->redelivered);

	if (r == -ENOMEM) {
		rabbitmq_source_channel_cut(attachment, CODE_OVERLOADED,
					    "no memory for a delivery");
		return;
	}
	if (r < 0) {
		set_aside(attachment, head, queue);
		return;
	}
	attachment->arriving_state = ARRIVING_RECORD;
	attachment->arrival = (struct queue_arrival){
		.tag = head->tag, .given_back = given_back, .from_retry = queue == RABBITMQ_RETRY};
}

// Of which queue it is, and the bookkeeping of it. -EINVAL: it was not asked for; -ENOMEM.
static int delivered(struct queue_attachment *attachment, const struct rabbitmq_head *head,
		     uint8_t *ret_queue)
{
	struct rabbitmq_consumer *consumer =
		rabbitmq_source_consumer_of(attachment, head->consumer);
	int r;

	if (!consumer || head->returned || consumer->open >= consumer->prefetch)
		return -EINVAL;
	*ret_queue = consumer->queue;
	r = rabbitmq_outstanding_add(&attachment->outstanding, head->tag, consumer->queue,
				     consumer->number);
	if (r < 0)
		return r;
	++consumer->open;
	rabbitmq_source_ack_handed(attachment, consumer);
	return 0;
}

static int got(struct queue_attachment *attachment, const struct rabbitmq_head *head,
	       uint8_t *ret_queue)
{
	struct rabbitmq_expectation expected;
	int r;

	if (!rabbitmq_source_channel_got(attachment, &expected))
		return -EINVAL;
	*ret_queue = expected.queue;
	r = rabbitmq_outstanding_add(&attachment->outstanding, head->tag, expected.queue, 0);
	if (r < 0)
		return r;
	rabbitmq_source_ack_got(attachment, expected.queue, expected.asked);
	return 0;
}

void rabbitmq_source_arrival_head(struct queue_attachment *attachment,
				  const struct rabbitmq_head *head)
{
	uint8_t queue;
	int r;

	if (attachment->state != RABBITMQ_SOURCE_OPEN)
		return;
	drop(attachment);
	r = head->got ? got(attachment, head, &queue) : delivered(attachment, head, &queue);
	if (r < 0) {
		rabbitmq_source_channel_cut(
			attachment, r == -ENOMEM ? CODE_OVERLOADED : CODE_PROTOCOL,
			r == -ENOMEM ? "no memory for a delivery"
				     : "the broker hands out what was not asked for");
		return;
	}
	attachment->arriving_queue = queue;
	attachment->replayed += queue == RABBITMQ_REPLAY;
	begin(attachment, head, queue);
	attachment->arriving_left = head->body_size;
	if (!head->body_size && attachment->state == RABBITMQ_SOURCE_OPEN)
		complete(attachment);
}

void rabbitmq_source_arrival_body(struct queue_attachment *attachment, const uint8_t *data,
				  size_t size)
{
	if (attachment->state != RABBITMQ_SOURCE_OPEN ||
	    attachment->arriving_state == ARRIVING_NONE)
		return;
	if (size > attachment->arriving_left ||
	    (attachment->arriving_state == ARRIVING_RECORD &&
	     !rabbitmq_arriving_body(&attachment->arriving, data, size))) {
		rabbitmq_source_channel_cut(attachment, CODE_PROTOCOL,
					    "the broker sends more of a message than it said");
		return;
	}
	attachment->arriving_left -= size;
	if (!attachment->arriving_left)
		complete(attachment);
}
