// Acknowledgements of a source's channel, and the barriers behind them. Everything @thread the
// link's loop.
#pragma once

#include "adapters/rabbitmq/receive/attachment.h"

void rabbitmq_source_ack_init(struct queue_attachment *attachment); // @thread any
void rabbitmq_source_ack_reset(struct queue_attachment *attachment);
void rabbitmq_source_ack_send(struct queue_attachment *attachment, const uint64_t *tags,
			      size_t count);
// passed() comes when all of that is safe with the broker.
void rabbitmq_source_ack_barrier(struct queue_attachment *attachment);
void rabbitmq_source_ack_run(struct queue_attachment *attachment); // something has changed
// Something about a consumer was answered; of a request that was sent behind `asked`.
void rabbitmq_source_ack_shown(struct queue_attachment *attachment, uint8_t queue, uint64_t asked);
// Of its consumer a delivery has come.
void rabbitmq_source_ack_handed(struct queue_attachment *attachment,
				const struct rabbitmq_consumer *consumer);
// A passive declare that was sent for a proof is answered, and a get.
void rabbitmq_source_ack_looked(struct queue_attachment *attachment, uint8_t queue,
				uint32_t messages);
void rabbitmq_source_ack_got(struct queue_attachment *attachment, uint8_t queue, uint64_t asked);
