// A task for each order, embedded in the attachment: no order needs memory.
//
// An order is given again only when the one before has been carried out, because the source waits
// for an answer in between: the acknowledgements of a batch for their barrier, a consume for the
// end of the one before, everything of a channel for the next opened(). The one exception is
// `.retry`, which is told by chance: it says itself whether it is on its way.

#include "adapters/rabbitmq/receive/orders.h"

static void post(struct queue_attachment *attachment, struct loop_task *task)
{
	loop_post(rabbitmq_link_loop(attachment->adapter->receive), task);
}

void rabbitmq_orders_open(struct queue_attachment *attachment, uint64_t epoch, bool has_retry,
			  bool has_replay)
{
	attachment->ordered_epoch = epoch;
	attachment->ordered_retry = has_retry;
	attachment->ordered_replay = has_replay;
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
