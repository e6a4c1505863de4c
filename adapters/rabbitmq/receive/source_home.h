// A source on its home loop: what is known of the group's retry store, what is on its way beside
// the channel, and the end. Everything @thread the home loop.
#pragma once

#include "adapters/rabbitmq/receive/attachment.h"

// Opens a channel as soon as it is known whether `.retry` is there.
void rabbitmq_source_home_open(struct queue_attachment *attachment, uint64_t epoch);
void rabbitmq_source_home_count(struct queue_attachment *attachment);
void rabbitmq_source_home_detach(struct queue_attachment *attachment);
// The retry store has at least this now.
void rabbitmq_source_home_made(struct queue_attachment *attachment, bool attempts, int level);
void rabbitmq_source_home_init(struct queue_attachment *attachment);

// Of the link (events.c).
void rabbitmq_source_home_opened(struct queue_attachment *attachment, uint64_t epoch);
void rabbitmq_source_home_arrived(struct queue_attachment *attachment,
				  const struct queue_arrival *arrivals, size_t count,
				  unsigned renewals);
void rabbitmq_source_home_lost(struct queue_attachment *attachment, uint64_t epoch,
			       const struct rabbitmq_end *end);
void rabbitmq_source_home_counted(struct queue_attachment *attachment, bool ok, uint64_t ready,
				  uint64_t retrying);
uint64_t rabbitmq_source_home_hold_max_ms(struct queue_attachment *attachment);
void rabbitmq_source_home_detached(struct queue_attachment *attachment);
