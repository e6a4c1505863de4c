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
// Before and after these are acknowledged.
void rabbitmq_source_consumer_acking(struct queue_attachment *attachment, const uint64_t *tags,
				     size_t count);
void rabbitmq_source_consumer_acked(struct queue_attachment *attachment);
// Answers of the broker.
void rabbitmq_source_consumer_started(struct queue_attachment *attachment, amqp_bytes_t tag);
void rabbitmq_source_consumer_cancelled(struct queue_attachment *attachment, amqp_bytes_t tag);
// Of one queue, in this state.
unsigned rabbitmq_source_consumer_count(const struct queue_attachment *attachment, uint8_t queue,
					enum rabbitmq_consumer_state state);
