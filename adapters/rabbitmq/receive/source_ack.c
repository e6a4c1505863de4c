// Acknowledges what the source wants acknowledged, and says when it is safe with the broker.
//
// A barrier is a passive declare of each queue that got acknowledgements: its answer comes when the
// channel has handled them. That is enough unless the channel holds some of them back for the
// queue, with which they would be lost (proof.c): then a proof comes first that it does not any
// more, and the passive declare behind that. For a classic queue nothing is held back; which of
// them one is, is known of a group of ours by the cluster's option, and not of an imported one.
//
// **Proofs** mostly come by themselves: the deliveries that follow. Where they do not, one is
// brought about, of what the consumers of the queue allow:
//
//   none hands out          one is begun
//   one that is full        it is cancelled, as it may be
//   one that is not full    it cannot be cancelled (source_consumer.c). Either there are messages,
//                           and it will be full; or there are none, as a passive declare says, and
//                           a get shows it. A message that comes to the queue in just that moment
//                           goes to the consumer, which has room; one that the get brings all the
//                           same is handed on as any other.
//
// A queue that has messages and does not hand them out (another client is its single active
// consumer) is asked with a get after PATIENCE_NS.

#include "adapters/rabbitmq/receive/source_ack.h"

#include "adapters/rabbitmq/receive/source_channel.h"
#include "adapters/rabbitmq/receive/source_consumer.h"

#include <errno.h>

#define AGAIN_NS    (10 * MS_NS) // until the next look whether there are messages
#define PATIENCE_NS (2 * S_NS)   // with which they are waited for

static uint64_t now_ns(const struct queue_attachment *attachment)
{
	return loop_now_ns(rabbitmq_link_loop(attachment->adapter->receive));
}

static bool is_classic(const struct queue_attachment *attachment, uint8_t queue)
{
	return queue == RABBITMQ_MAIN && !attachment->to.group->imported &&
	       attachment->adapter->options.queue == RABBITMQ_CLASSIC;
}

// Is a proof looked for?
static bool is_short(const struct queue_attachment *attachment, uint8_t queue)
{
	return attachment->barrier && !is_classic(attachment, queue) &&
	       !rabbitmq_proof_is_safe(&attachment->proof[queue]);
}

// ---- bringing a proof about

static void look_for(struct queue_attachment *attachment, uint8_t queue)
{
	if (attachment->proving[queue] || attachment->proof_timer.at_ns)
		return;
	attachment->proving[queue] = true;
	if (!attachment->short_ns[queue])
		attachment->short_ns[queue] = now_ns(attachment);
	rabbitmq_source_channel_look(attachment, RABBITMQ_EXPECT_PROOF, queue);
}

static void prove(struct queue_attachment *attachment, uint8_t queue)
{
	if (rabbitmq_source_consumer_prove(attachment, queue) == -EAGAIN)
		look_for(attachment, queue);
}

static void get(struct queue_attachment *attachment, uint8_t queue)
{
	amqp_basic_get_t get = {.queue = amqp_cstring_bytes(attachment->names[queue])};

	attachment->proving[queue] = true;
	rabbitmq_source_channel_send(attachment, RABBITMQ_EXPECT_GET, queue, AMQP_BASIC_GET_METHOD,
				     &get);
}

void rabbitmq_source_ack_looked(struct queue_attachment *attachment, uint8_t queue,
				uint32_t messages)
{
	attachment->proving[queue] = false;
	if (attachment->state != RABBITMQ_SOURCE_OPEN || !is_short(attachment, queue))
		return;
	if (!rabbitmq_source_consumer_has_room(attachment, queue))
		prove(attachment, queue); // it has changed meanwhile
	else if (!messages || now_ns(attachment) >= attachment->short_ns[queue] + PATIENCE_NS)
		get(attachment, queue);
	else
		loop_timer_set(&attachment->proof_timer, now_ns(attachment) + AGAIN_NS);
}

static void on_proof_timer(struct loop_timer *timer)
{
	rabbitmq_source_ack_run(CONTAINER_OF(timer, struct queue_attachment, proof_timer));
}

void rabbitmq_source_ack_shown(struct queue_attachment *attachment, uint8_t queue, uint64_t asked)
{
	rabbitmq_proof_shown(&attachment->proof[queue], asked);
	rabbitmq_source_ack_run(attachment);
}

void rabbitmq_source_ack_got(struct queue_attachment *attachment, uint8_t queue, uint64_t asked)
{
	attachment->proving[queue] = false;
	rabbitmq_source_ack_shown(attachment, queue, asked);
}

void rabbitmq_source_ack_handed(struct queue_attachment *attachment,
				const struct rabbitmq_consumer *consumer)
{
	uint64_t handed = consumer->settled + consumer->open;

	if (handed > consumer->prefetch)
		rabbitmq_proof_handed(&attachment->proof[consumer->queue], consumer->number,
				      handed - consumer->prefetch);
}

// ---- acknowledging

static void on_acked(void *ctx, const struct rabbitmq_tag *tag, bool begins)
{
	struct queue_attachment *attachment = ctx;
	struct rabbitmq_consumer *consumer =
		rabbitmq_source_consumer_numbered(attachment, tag->consumer);

	if (begins)
		rabbitmq_proof_sent(
			&attachment->proof[tag->queue],
			(struct rabbitmq_command){.number = attachment->acks + 1,
						  .settled = consumer ? consumer->settled : 0,
						  .consumer = consumer ? consumer->number : 0});
	attachment->unacked |= 1u << tag->queue;
	rabbitmq_source_consumer_acked(attachment, consumer, tag);
}

static void send_barrier(struct queue_attachment *attachment)
{
	attachment->barrier = false;
	for (uint8_t queue = RABBITMQ_QUEUES; queue-- > 0;)
		if (attachment->unacked & 1u << queue ||
		    (queue == RABBITMQ_MAIN && !attachment->unacked))
			rabbitmq_source_channel_look(attachment, RABBITMQ_EXPECT_BARRIER, queue);
	attachment->unacked = 0;
}

void rabbitmq_source_ack_run(struct queue_attachment *attachment)
{
	bool safe = true;

	if (attachment->state != RABBITMQ_SOURCE_OPEN)
		return;
	for (uint8_t queue = 0; queue < RABBITMQ_QUEUES; ++queue) {
		if (!is_short(attachment, queue)) {
			attachment->short_ns[queue] = 0;
			continue;
		}
		safe = false;
		prove(attachment, queue);
	}
	if (attachment->barrier && safe)
		send_barrier(attachment);
}

static void send_ack(struct queue_attachment *attachment, const struct rabbitmq_ack *next)
{
	amqp_basic_ack_t ack = {.delivery_tag = next->tag, .multiple = next->multiple};

	++attachment->acks;
	rabbitmq_channel_send(&attachment->channel, AMQP_BASIC_ACK_METHOD, &ack);
}

// Each acknowledgement lets a consumer hand out one more: what is to be done with one that is full
// is done before.
void rabbitmq_source_ack_send(struct queue_attachment *attachment, const uint64_t *tags,
			      size_t count)
{
	struct rabbitmq_ack next;

	if (attachment->state != RABBITMQ_SOURCE_OPEN)
		return;
	rabbitmq_source_consumer_acking(attachment);
	rabbitmq_outstanding_want(&attachment->outstanding, tags, count);
	while (rabbitmq_outstanding_next(&attachment->outstanding, on_acked, attachment, &next))
		send_ack(attachment, &next);
	rabbitmq_source_consumer_free(attachment);
}

void rabbitmq_source_ack_barrier(struct queue_attachment *attachment)
{
	if (attachment->state != RABBITMQ_SOURCE_OPEN)
		return;
	attachment->barrier = true;
	rabbitmq_source_ack_run(attachment);
}

void rabbitmq_source_ack_reset(struct queue_attachment *attachment)
{
	loop_timer_cancel(&attachment->proof_timer);
	memset(attachment->proof, 0, sizeof attachment->proof);
	memset(attachment->proving, 0, sizeof attachment->proving);
	memset(attachment->short_ns, 0, sizeof attachment->short_ns);
	attachment->acks = 0;
	attachment->unacked = 0;
	attachment->barrier = false;
}

void rabbitmq_source_ack_init(struct queue_attachment *attachment)
{
	loop_timer_init(&attachment->proof_timer, rabbitmq_link_loop(attachment->adapter->receive),
			on_proof_timer);
}
