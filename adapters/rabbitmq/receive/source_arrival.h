// Deliveries of a source's channel, as arrivals. Everything @thread the link's loop.
#pragma once

#include "adapters/rabbitmq/receive/attachment.h"

// A new channel, before which the queues had this many messages ready.
void rabbitmq_source_arrival_reset(struct queue_attachment *attachment,
				   const uint32_t ready[RABBITMQ_QUEUES]);
void rabbitmq_source_arrival_head(struct queue_attachment *attachment,
				  const struct rabbitmq_head *head);
void rabbitmq_source_arrival_body(struct queue_attachment *attachment, const uint8_t *data,
				  size_t size);
void rabbitmq_source_arrival_end(struct queue_attachment *attachment); // the channel has ended
