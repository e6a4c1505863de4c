// Each order is a task of the attachment: here is what it does on the receive link.
//
// An order may come when its channel has ended: then it is void.

#include "adapters/rabbitmq/receive/carry_out.h"

#include "adapters/rabbitmq/receive/source_ack.h"
#include "adapters/rabbitmq/receive/source_channel.h"
#include "adapters/rabbitmq/receive/source_consumer.h"

#define ATTACHMENT(task, member) CONTAINER_OF(task, struct queue_attachment, member)

static void do_open(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, order_open);

	rabbitmq_source_channel_open(attachment, attachment->ordered_epoch,
				     attachment->ordered_retry, attachment->ordered_replay);
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

	rabbitmq_source_ack_send(attachment, attachment->ordered_tags,
				 attachment->ordered_tag_count);
}

static void do_barrier(struct loop_task *task)
{
	rabbitmq_source_ack_barrier(ATTACHMENT(task, order_barrier));
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

void rabbitmq_carry_out_init(struct queue_attachment *attachment)
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
