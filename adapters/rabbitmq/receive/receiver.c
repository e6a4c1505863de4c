// The queue source's ops on RabbitMQ. A source is an attachment with two sides:
//
//   source_home.c      the home loop: the retry store, counts, the end
//   source_copy.c      copies, on the send link
//   source_channel.c   the receive link: channels, one after another
//   source_consumer.c  the consumers of a channel
//   source_arrival.c   its deliveries
//   source_ack.c       acknowledgements and barriers
//   source_replay.c    what is handed out before the group's queue
//   outstanding.c      what is not acknowledged, and with which commands it is
//   proof.c            whether these commands may be lost with the channel
//   orders.c           what the home loop asks of the link
//   carry_out.c        and what is done then
//   events.c           what the link tells the home loop
//   hold_limit.c       how long a delivery may stay unacknowledged
//   store.c            queues of a group's retry store: looking at them, making them
//   store_job.c        such a look, asked by a source that may end before it is answered
//
// No lock: each member of an attachment belongs to one thread, and tasks carry what passes between
// them.

#include "adapters/rabbitmq/receive/receiver.h"

#include "adapters/rabbitmq/receive/carry_out.h"
#include "adapters/rabbitmq/receive/events.h"
#include "adapters/rabbitmq/receive/orders.h"
#include "adapters/rabbitmq/receive/receiver_state.h"
#include "adapters/rabbitmq/receive/source_channel.h"
#include "adapters/rabbitmq/receive/source_copy.h"
#include "adapters/rabbitmq/receive/source_home.h"

#include <errno.h>

#define MESSAGES_MAX 16384 // of one source, handed out and not acknowledged

static int do_attach(struct adapter *adapter, const struct queue_attach *attach,
		     struct queue_attachment **ret)
{
	struct queue_attachment *attachment = calloc(1, sizeof *attachment);

	if (!attachment)
		return -ENOMEM;
	attachment->adapter = adapter;
	attachment->to = *attach;
	attachment->retry_name = rabbitmq_name_retry(attach->group);
	attachment->replay_name = rabbitmq_name_replay(attach->group);
	attachment->marker = rabbitmq_name_marker(attach->topic);
	attachment->hold_ms = attachment->home_hold_ms = adapter->options.consumer_timeout_ms;
	attachment->names[RABBITMQ_MAIN] = attach->group->physical;
	attachment->names[RABBITMQ_RETRY] = attachment->retry_name.text;
	attachment->names[RABBITMQ_REPLAY] = attachment->replay_name.text;
	rabbitmq_source_channel_init(attachment);
	rabbitmq_source_home_init(attachment);
	rabbitmq_carry_out_init(attachment);
	rabbitmq_events_init(attachment);
	*ret = attachment;
	return 0;
}

const struct queue_ops rabbitmq_receiver_ops = {.messages_max = MESSAGES_MAX,
						.retry_share = RABBITMQ_RETRY_SHARE,
						.acks_max = RABBITMQ_ACKS,
						.hold_max_ms = rabbitmq_source_home_hold_max_ms,
						.attach = do_attach,
						.open = rabbitmq_source_home_open,
						.cut = rabbitmq_orders_cut,
						.consume = rabbitmq_orders_consume,
						.ack = rabbitmq_orders_ack,
						.barrier = rabbitmq_orders_barrier,
						.write = rabbitmq_source_copy_write,
						.count = rabbitmq_source_home_count,
						.detach = rabbitmq_source_home_detach};

int rabbitmq_receiver_start(struct adapter *adapter)
{
	adapter->receiver = calloc(1, sizeof *adapter->receiver);
	if (!adapter->receiver)
		return -ENOMEM;
	adapter->receiver->second_ms = 1000;
	return 0;
}

void rabbitmq_receiver_stop(struct adapter *adapter)
{
	free(adapter->receiver);
	adapter->receiver = NULL;
}
