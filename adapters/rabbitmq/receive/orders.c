// A task for each order, embedded in the attachment: no order needs memory.
//
// An order is given again only when the one before has been carried out, because the source waits
// for an answer in between: the acknowledgements of a batch for their barrier, a consume for the
// end of the one before, everything of a channel for the next opened(). The one exception is
// `.retry`, which is told by chance: it says itself whether it is on its way.

#include "adapters/rabbitmq/receive/orders.h"

#include "adapters/rabbitmq/receive/source_channel.h"
#include "adapters/rabbitmq/receive/source_consumer.h"

static void post(struct queue_attachment *attachment, struct loop_task *task)
{
	loop_post(rabbitmq_link_loop(attachment->adapter->receive), task);
}

// ---- carried out on the link

#define ATTACHMENT(task, member) CONTAINER_OF(task, struct queue_attachment, member)

static void do_open(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, order_open);

	rabbitmq_source_channel_open(attachment, attachment->ordered_epoch,
				     attachment->ordered_retry);
}

static void do_cut(struct loop_task *task)
{
	rabbitmq_source_channel_cut(ATTACHMENT(task, order_cut), CODE_OVERLOADED,
				    "no memory for a delivery");
}

static void do_consume(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, order_consume);

	if (attachment->state == RABBITMQ_SOURCE_OPEN)
		rabbitmq_source_consumer_begin(attachment, attachment->ordered_prefetch);
}

static void do_cancel(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, order_cancel);

	if (attachment->state == RABBITMQ_SOURCE_OPEN)
		rabbitmq_source_consumer_end(attachment);
}

static void do_ack(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, order_ack);

	if (attachment->state != RABBITMQ_SOURCE_OPEN)
		return;
	rabbitmq_source_channel_ack(attachment, attachment->ordered_tags,
				    attachment->ordered_tag_count);
}

static void do_barrier(struct loop_task *task)
{
	rabbitmq_source_channel_barrier(ATTACHMENT(task, order_barrier));
}

static void do_count(struct loop_task *task)
{
	rabbitmq_source_channel_count(ATTACHMENT(task, order_count));
}

static void do_retry(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, order_retry);

	__atomic_store_n(&attachment->ordered_retry_posted, false, __ATOMIC_RELEASE);
	rabbitmq_source_consumer_retry(attachment);
}

static void do_detach(struct loop_task *task)
{
	rabbitmq_source_channel_detach(ATTACHMENT(task, order_detach));
}

// ---- given on the home loop

void rabbitmq_orders_init(struct queue_attachment *attachment)
{
	attachment->order_open.fn = do_open;
	attachment->order_cut.fn = do_cut;
	attachment->order_consume.fn = do_consume;
	attachment->order_cancel.fn = do_cancel;
	attachment->order_ack.fn = do_ack;
	attachment->order_barrier.fn = do_barrier;
	attachment->order_count.fn = do_count;
	attachment->order_retry.fn = do_retry;
	attachment->order_detach.fn = do_detach;
}

void rabbitmq_orders_open(struct queue_attachment *attachment, uint64_t epoch, bool has_retry)
{
	attachment->ordered_epoch = epoch;
	attachment->ordered_retry = has_retry;
	post(attachment, &attachment->order_open);
}

void rabbitmq_orders_cut(struct queue_attachment *attachment)
{
	post(attachment, &attachment->order_cut);
}

void rabbitmq_orders_consume(struct queue_attachment *attachment, uint32_t prefetch)
{
	if (!prefetch) {
		post(attachment, &attachment->order_cancel);
		return;
	}
	attachment->ordered_prefetch = prefetch;
	post(attachment, &attachment->order_consume);
}

void rabbitmq_orders_ack(struct queue_attachment *attachment, const uint64_t *tags, size_t count)
{
	assert(count <= RABBITMQ_ACKS);
	memcpy(attachment->ordered_tags, tags, count * sizeof *tags);
	attachment->ordered_tag_count = count;
	post(attachment, &attachment->order_ack);
}

void rabbitmq_orders_barrier(struct queue_attachment *attachment)
{
	post(attachment, &attachment->order_barrier);
}

void rabbitmq_orders_count(struct queue_attachment *attachment)
{
	post(attachment, &attachment->order_count);
}

void rabbitmq_orders_retry(struct queue_attachment *attachment)
{
	if (!__atomic_exchange_n(&attachment->ordered_retry_posted, true, __ATOMIC_ACQUIRE))
		post(attachment, &attachment->order_retry);
}

void rabbitmq_orders_detach(struct queue_attachment *attachment)
{
	post(attachment, &attachment->order_detach);
}
