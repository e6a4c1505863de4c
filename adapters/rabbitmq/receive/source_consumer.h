// The consumers of a source's channel: one on the group's queue, one on `.retry`. Everything
// @thread the link's loop.
#pragma once

#include "adapters/rabbitmq/receive/attachment.h"

void rabbitmq_source_consumer_init(struct queue_attachment *attachment); // @thread any
void rabbitmq_source_consumer_begin(struct queue_attachment *attachment, uint32_t prefetch);
void rabbitmq_source_consumer_cancel(struct queue_attachment *attachment); // cancelled() comes
void rabbitmq_source_consumer_retry(struct queue_attachment *attachment);  // `.retry` is there
void rabbitmq_source_consumer_room(struct queue_attachment *attachment);   // acknowledgements
void rabbitmq_source_consumer_reset(struct queue_attachment *attachment);  // the channel has ended
// Answers of the broker.
void rabbitmq_source_consumer_started(struct queue_attachment *attachment, uint8_t queue);
void rabbitmq_source_consumer_cancelled(struct queue_attachment *attachment, uint8_t queue);
void rabbitmq_source_consumer_choose(struct queue_attachment *attachment, bool retry);
// Of which queue a consumer tag is; RABBITMQ_QUEUES: of none.
uint8_t rabbitmq_source_consumer_of(amqp_bytes_t tag);
bool rabbitmq_source_consumer_runs(const struct queue_attachment *attachment);
