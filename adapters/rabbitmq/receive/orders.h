// What the source asks of its channel, on its way from the home loop to the receive link. Each call
// is @thread the home loop, and is carried out on the link's loop in the order of the calls
// (carry_out.h).
#pragma once

#include "adapters/rabbitmq/receive/attachment.h"

void rabbitmq_orders_open(struct queue_attachment *attachment, uint64_t epoch, bool has_retry,
			  bool has_replay);
void rabbitmq_orders_cut(struct queue_attachment *attachment);
void rabbitmq_orders_consume(struct queue_attachment *attachment, uint32_t prefetch);
void rabbitmq_orders_ack(struct queue_attachment *attachment, const uint64_t *tags, size_t count);
void rabbitmq_orders_barrier(struct queue_attachment *attachment);
void rabbitmq_orders_count(struct queue_attachment *attachment);
void rabbitmq_orders_retry(struct queue_attachment *attachment); // `.retry` has been made
void rabbitmq_orders_detach(struct queue_attachment *attachment);
