// The channels of one source on the receive link, one after another. Everything @thread the link's
// loop.
#pragma once

#include "adapters/rabbitmq/receive/attachment.h"

void rabbitmq_source_channel_init(struct queue_attachment *attachment); // @thread any
void rabbitmq_source_channel_open(struct queue_attachment *attachment, uint64_t epoch,
				  bool has_retry, bool has_replay);
// Ends it by an error of ours: what was handed out goes back in order, and lost() says why.
void rabbitmq_source_channel_cut(struct queue_attachment *attachment, enum code code,
				 const char *text);
void rabbitmq_source_channel_count(struct queue_attachment *attachment);
void rabbitmq_source_channel_detach(struct queue_attachment *attachment);
// A method whose answer is expected.
void rabbitmq_source_channel_send(struct queue_attachment *attachment, enum rabbitmq_expected what,
				  uint8_t queue, amqp_method_number_t id, void *decoded);
// A message answers a get; false: nothing is to be got. The rest is to be told to source_ack.h.
bool rabbitmq_source_channel_got(struct queue_attachment *attachment,
				 struct rabbitmq_expectation *ret);
// Is an answer of this kind still to come?
bool rabbitmq_source_channel_expects(const struct queue_attachment *attachment,
				     enum rabbitmq_expected what);
// Asks how many messages and consumers a queue has.
void rabbitmq_source_channel_look(struct queue_attachment *attachment, enum rabbitmq_expected what,
				  uint8_t queue);
