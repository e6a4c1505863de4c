// The consumers of a source's channel, and what of their deliveries is handed on. Everything
// @thread the link's loop.
#pragma once

#include "adapters/rabbitmq/receive/attachment.h"

void rabbitmq_source_consumer_init(struct queue_attachment *attachment); // @thread any
void rabbitmq_source_consumer_begin(struct queue_attachment *attachment, uint32_t prefetch);
void rabbitmq_source_consumer_end(struct queue_attachment *attachment);   // cancelled() comes
void rabbitmq_source_consumer_retry(struct queue_attachment *attachment); // `.retry` is there
void rabbitmq_source_consumer_reset(struct queue_attachment *attachment); // the channel has ended
// A delivery: of which consumer it is; NULL: of none. And when all of it has come: takes the
// reference of its buffer. -ENOMEM.
struct rabbitmq_consumer *rabbitmq_source_consumer_of(struct queue_attachment *attachment,
						      amqp_bytes_t tag);
int rabbitmq_source_consumer_arrived(struct queue_attachment *attachment, uint8_t queue,
				     const struct queue_arrival *arrival, bool renewal);
// NULL: it is not there any more.
struct rabbitmq_consumer *rabbitmq_source_consumer_numbered(struct queue_attachment *attachment,
							    uint32_t number);
// Before acknowledgements leave; for each of them; and behind them.
void rabbitmq_source_consumer_acking(struct queue_attachment *attachment);
void rabbitmq_source_consumer_acked(struct queue_attachment *attachment,
				    struct rabbitmq_consumer *consumer,
				    const struct rabbitmq_tag *tag);
void rabbitmq_source_consumer_free(struct queue_attachment *attachment);
// What has come stays unacknowledged and is not handed on.
void rabbitmq_source_consumer_set_aside(struct queue_attachment *attachment);
// Asks something of a consumer whose answer shows what is acknowledged, or has asked. -EAGAIN: the
// one that is there may neither be ended nor be joined by another.
int rabbitmq_source_consumer_prove(struct queue_attachment *attachment, uint8_t queue);
// Ends the one that hands out; false: there is none.
bool rabbitmq_source_consumer_cancel(struct queue_attachment *attachment, uint8_t queue);
// Is there one that may hand out more?
bool rabbitmq_source_consumer_has_room(struct queue_attachment *attachment, uint8_t queue);
// Answers of the broker.
void rabbitmq_source_consumer_started(struct queue_attachment *attachment, amqp_bytes_t tag);
void rabbitmq_source_consumer_cancelled(struct queue_attachment *attachment, amqp_bytes_t tag);
// Of one queue, in this state.
unsigned rabbitmq_source_consumer_count(const struct queue_attachment *attachment, uint8_t queue,
					enum rabbitmq_consumer_state state);
