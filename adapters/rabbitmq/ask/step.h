// One step of a request as a method of AMQP, and what the broker answers to it.
#pragma once

#include "adapters/rabbitmq/ask/ask.h"

// `endless`: a quorum queue is declared without a limit of deliveries. Answers as
// rabbitmq_channel_send(). @thread ask link
bool rabbitmq_step_send(struct rabbitmq_channel *channel, const struct rabbitmq_step *step,
			bool endless);
// Takes the numbers of an answer; false: it is none to this step. @thread any
bool rabbitmq_step_answered(struct rabbitmq_step *step, const amqp_method_t *method);
// What a broker that closes the channel (or connection) with this number says of the step; OK: it
// says nothing of it. @thread any
enum code rabbitmq_step_refusal(uint16_t reply);
// Which of the two a broker of this version needs ("3.10.8"). @thread any
bool rabbitmq_step_endless(const char *version);
