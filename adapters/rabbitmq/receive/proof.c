// Proofs that acknowledgements have left the channel.
//
// RabbitMQ answers no acknowledgement. A basic.ack becomes a *command* for each consumer that it
// acknowledges messages of, and the channel passes it on to the queue. Of a quorum queue it counts
// the commands that are not applied (committed and carried out). When there are 33 it keeps all
// further ones in its own memory until there are fewer than 32, and then passes them on as one
// command for each consumer. What it keeps is lost with it, and other requests overtake it: a
// passive declare is answered all the same. So that answer is believed only while no more
// commands are under way than the channel passes on at once, or when something has shown behind
// all of them that the first ones are applied: then the channel has let go of the others.
//
// What shows that:
//
// - the answer to a request that the queue applies as a command, too (the beginning and the end of
//   a consumer, a get): everything that was passed on before it is applied;
// - a delivery. A queue hands out no more to a consumer than its prefetch and what it knows to be
//   acknowledged. So a delivery beyond that shows that a later command is applied.
//
// The leader of a queue tells the channel what is applied before it sends the answers and the
// deliveries that follow from it. So with either in our hands, the channel counts down, and lets
// go of what it keeps, before it handles the next request of ours.
//
// Details: the commands of one basic.ack are passed on in any order, and some of them may be held
// back: one of several shows only what was sent before that basic.ack. What the channel lets go of
// is under way again, one command for each consumer.

#include "adapters/rabbitmq/receive/proof.h"

#include "core/base/util.h"

bool rabbitmq_proof_is_safe(const struct rabbitmq_proof *proof)
{
	return !proof->held;
}

static bool is_another(const struct rabbitmq_proof *proof, const struct rabbitmq_command *command)
{
	return !proof->held || !command->consumer || command->consumer != proof->last.consumer;
}

void rabbitmq_proof_sent(struct rabbitmq_proof *proof, struct rabbitmq_command command)
{
	uint64_t before = proof->held    ? proof->last.number
			  : proof->count ? proof->commands[proof->count - 1].number
					 : 0;

	assert(before <= command.number);
	if (!proof->held && proof->count < RABBITMQ_PASSED_ON) {
		proof->commands[proof->count++] = command;
		return;
	}
	proof->held += is_another(proof, &command);
	proof->last = command;
	proof->last_alone = before < command.number;
}

// What was held back is under way, as that many commands.
static void let_go(struct rabbitmq_proof *proof)
{
	proof->count = MIN(proof->held, RABBITMQ_PASSED_ON);
	proof->held = 0;
	for (unsigned i = 0; i < proof->count; ++i)
		proof->commands[i] = (struct rabbitmq_command){.number = proof->last.number};
}

void rabbitmq_proof_shown(struct rabbitmq_proof *proof, uint64_t number)
{
	unsigned shown = 0;

	if (proof->held) {
		if (number >= proof->last.number)
			let_go(proof);
		return;
	}
	while (shown < proof->count && proof->commands[shown].number <= number)
		++shown;
	proof->count -= shown;
	memmove(proof->commands, proof->commands + shown, proof->count * sizeof *proof->commands);
}

static bool is_alone(const struct rabbitmq_proof *proof, unsigned at)
{
	const struct rabbitmq_command *commands = proof->commands;

	return (!at || commands[at - 1].number < commands[at].number) &&
	       (at + 1 == proof->count || commands[at + 1].number > commands[at].number);
}

static bool is_applied(const struct rabbitmq_command *command, uint32_t consumer, uint64_t settled)
{
	return command->consumer && command->consumer == consumer && command->settled < settled;
}

void rabbitmq_proof_handed(struct rabbitmq_proof *proof, uint32_t consumer, uint64_t settled)
{
	if (proof->held) {
		if (proof->last_alone && is_applied(&proof->last, consumer, settled))
			let_go(proof);
		return;
	}
	for (unsigned at = proof->count; at-- > 0;) {
		const struct rabbitmq_command *command = &proof->commands[at];

		if (!is_applied(command, consumer, settled))
			continue;
		rabbitmq_proof_shown(proof,
				     is_alone(proof, at) ? command->number : command->number - 1);
		return;
	}
}
