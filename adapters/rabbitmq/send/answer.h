// The end of a batch or post: what it held is given back, and its caller is answered.
#pragma once

#include "adapters/rabbitmq/send/batch.h"
#include "adapters/rabbitmq/send/sender.h"
#include "adapters/rabbitmq/send/sender_state.h"

// All @thread send link.
// A record has ended; with the last one its batch leaves its queue and is answered. `alive`: by an
// answer of the cluster.
void rabbitmq_answer_record(struct rabbitmq_sender *sender, struct rabbitmq_batch *batch,
			    uint32_t index, enum outcome outcome, enum code code, bool alive);
// What is not published of a batch ends; it leaves its queue. The batch may be gone behind it.
void rabbitmq_answer_rest(struct rabbitmq_sender *sender, struct rabbitmq_batch *batch,
			  enum code code);
void rabbitmq_answer_post(struct rabbitmq_sender *sender, struct rabbitmq_post *post,
			  enum outcome outcome, enum code code, const char *text, bool alive);
