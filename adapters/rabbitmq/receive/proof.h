// Whether the acknowledgements that one queue got on a channel may be lost with that. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Commands that a channel of RabbitMQ passes on to a queue while none of them is applied.
#define RABBITMQ_PASSED_ON 32u

// An acknowledgement as the broker passes it on.
struct rabbitmq_command {
	uint64_t number;   // of the basic.ack that it is a part of
	uint64_t settled;  // messages of its consumer that were acknowledged before
	uint32_t consumer; // the caller's; 0: of none that hands out more
};

// Of one queue. Zero it for each channel.
struct rabbitmq_proof {
	struct rabbitmq_command commands[RABBITMQ_PASSED_ON]; // not shown to be applied
	unsigned count;
	unsigned held;                // commands that may be held back, at most; 0: none is
	struct rabbitmq_command last; // of them
	bool last_alone;              // of its basic.ack
};

// Numbers do not fall.
void rabbitmq_proof_sent(struct rabbitmq_proof *proof, struct rabbitmq_command command);
// A request that was sent behind those up to `number` has been carried out behind them.
void rabbitmq_proof_shown(struct rabbitmq_proof *proof, uint64_t number);
// The queue has taken note of at least `settled` acknowledged messages of this consumer: else it
// could not have handed out what has come.
void rabbitmq_proof_handed(struct rabbitmq_proof *proof, uint32_t consumer, uint64_t settled);
// What has been sent is not lost with the channel, when the channel has handled what is sent now.
bool rabbitmq_proof_is_safe(const struct rabbitmq_proof *proof);
