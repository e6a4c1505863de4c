// What the receive link tells the source, on its way to the home loop, in the order of the calls.
// Each call is @thread the link's loop.
#pragma once

#include "adapters/rabbitmq/receive/attachment.h"

void rabbitmq_events_init(struct queue_attachment *attachment);
void rabbitmq_events_opened(struct queue_attachment *attachment);
// Takes the reference of the arrival's buffer, also when there is no memory: -ENOMEM.
int rabbitmq_events_arrived(struct queue_attachment *attachment,
			    const struct queue_arrival *arrival, bool renewal);
void rabbitmq_events_passed(struct queue_attachment *attachment);
void rabbitmq_events_cancelled(struct queue_attachment *attachment);
void rabbitmq_events_lost(struct queue_attachment *attachment, const struct rabbitmq_end *end);
void rabbitmq_events_gone(struct queue_attachment *attachment);
void rabbitmq_events_counted(struct queue_attachment *attachment, bool ok);
void rabbitmq_events_detached(struct queue_attachment *attachment); // the last one
