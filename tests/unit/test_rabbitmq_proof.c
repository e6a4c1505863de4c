// Whether acknowledgements of a RabbitMQ channel may be lost with it
// (adapters/rabbitmq/receive/proof.h).

#include "adapters/rabbitmq/receive/proof.h"

#include "tests/unit/unit.h"

static struct rabbitmq_proof proof;

static void sent(uint64_t number, uint32_t consumer, uint64_t settled)
{
	rabbitmq_proof_sent(&proof, (struct rabbitmq_command){.number = number,
							      .settled = settled,
							      .consumer = consumer});
}

// Commands of one message each, of consumer 1.
static void begin(unsigned count)
{
	proof = (struct rabbitmq_proof){0};
	for (unsigned i = 0; i < count; ++i) {
		CHECK(rabbitmq_proof_is_safe(&proof));
		sent(i + 1, 1, i);
	}
}

static void few_are_safe(void)
{
	begin(RABBITMQ_PASSED_ON);
	CHECK(rabbitmq_proof_is_safe(&proof));
	sent(RABBITMQ_PASSED_ON + 1, 1, RABBITMQ_PASSED_ON);
	CHECK(!rabbitmq_proof_is_safe(&proof));
}

static void an_answer_shows_what_was_sent_before(void)
{
	begin(32);
	rabbitmq_proof_shown(&proof, 0); // asked before all of them
	CHECK_EQ(proof.count, 32);
	rabbitmq_proof_shown(&proof, 10);
	CHECK_EQ(proof.count, 22);
	rabbitmq_proof_shown(&proof, 5); // another answer, later
	CHECK_EQ(proof.count, 22);
	rabbitmq_proof_shown(&proof, UINT64_MAX);
	CHECK_EQ(proof.count, 0);
}

static void what_is_held_back_is_let_go(void)
{
	begin(32);
	for (unsigned i = 33; i <= 100; ++i)
		sent(i, 1, i - 1);
	rabbitmq_proof_shown(&proof, 99); // it says nothing of the last
	CHECK(!rabbitmq_proof_is_safe(&proof));
	rabbitmq_proof_shown(&proof, 100);
	CHECK(rabbitmq_proof_is_safe(&proof));
	CHECK_EQ(proof.count, 1); // as one command
	for (unsigned i = 101; i <= 131; ++i)
		sent(i, 1, i - 1);
	CHECK(rabbitmq_proof_is_safe(&proof));
	sent(132, 1, 131);
	CHECK(!rabbitmq_proof_is_safe(&proof));
}

static void what_is_let_go_is_a_command_for_each_consumer(void)
{
	begin(32);
	for (unsigned i = 33; i <= 40; ++i)
		sent(i, i, 0);
	sent(41, 0, 0); // got, as the next one
	sent(42, 0, 0);
	rabbitmq_proof_shown(&proof, 42);
	CHECK_EQ(proof.count, 10);
	begin(32);
	for (unsigned i = 33; i <= 100; ++i)
		sent(i, i, 0);
	rabbitmq_proof_shown(&proof, 100);
	CHECK(rabbitmq_proof_is_safe(&proof));
	sent(101, 1, 0);
	CHECK(!rabbitmq_proof_is_safe(&proof));
}

static void a_delivery_beyond_the_prefetch_shows_one_more(void)
{
	begin(32);
	rabbitmq_proof_handed(&proof, 1, 0); // within the prefetch
	CHECK_EQ(proof.count, 32);
	rabbitmq_proof_handed(&proof, 1, 1);
	CHECK_EQ(proof.count, 31);
	rabbitmq_proof_handed(&proof, 1, 1);
	CHECK_EQ(proof.count, 31);
	rabbitmq_proof_handed(&proof, 1, 30);
	CHECK_EQ(proof.count, 2);
	rabbitmq_proof_handed(&proof, 2, UINT64_MAX); // of a consumer without commands
	CHECK_EQ(proof.count, 2);
	rabbitmq_proof_handed(&proof, 0, UINT64_MAX);
	CHECK_EQ(proof.count, 2);
	rabbitmq_proof_handed(&proof, 1, UINT64_MAX);
	CHECK_EQ(proof.count, 0);
}

static void a_delivery_shows_what_is_held_back(void)
{
	begin(32);
	sent(33, 1, 32);
	sent(34, 1, 33);
	rabbitmq_proof_handed(&proof, 1, 33);
	CHECK(!rabbitmq_proof_is_safe(&proof));
	rabbitmq_proof_handed(&proof, 1, 34);
	CHECK(rabbitmq_proof_is_safe(&proof));
	begin(32);
	sent(33, 2, 0);
	sent(33, 1, 32); // the other one of this basic.ack may be held back
	rabbitmq_proof_handed(&proof, 1, 33);
	CHECK(!rabbitmq_proof_is_safe(&proof));
}

// A command of many messages is carried out with the first of them.
static void a_run_is_one_command(void)
{
	proof = (struct rabbitmq_proof){0};
	sent(1, 1, 0); // 100 messages
	sent(2, 1, 100);
	rabbitmq_proof_handed(&proof, 1, 1);
	CHECK_EQ(proof.count, 1);
	rabbitmq_proof_handed(&proof, 1, 100);
	CHECK_EQ(proof.count, 1);
	rabbitmq_proof_handed(&proof, 1, 101);
	CHECK_EQ(proof.count, 0);
}

// Those of one basic.ack are carried out in any order.
static void one_of_several_shows_those_before(void)
{
	proof = (struct rabbitmq_proof){0};
	sent(1, 1, 0);
	sent(2, 1, 10);
	sent(2, 2, 0);
	sent(3, 2, 5);
	rabbitmq_proof_handed(&proof, 2, 1);
	CHECK_EQ(proof.count, 3);
	rabbitmq_proof_handed(&proof, 1, 11);
	CHECK_EQ(proof.count, 3);
	rabbitmq_proof_handed(&proof, 2, 6);
	CHECK_EQ(proof.count, 0);
}

// ---- a channel that holds back as RabbitMQ's: nothing that is safe is lost with it

enum { STEPS = 300000, CONSUMERS = 3, LINE = 4096 };

struct event {
	enum { ACK, REQUEST, BARRIER, APPLIED } kind;
	uint32_t consumer, other; // of an ACK: 0: none
	uint64_t number;          // of REQUEST and BARRIER: those sent before; APPLIED: how many
};

static struct {
	struct event line[LINE]; // what the channel has not handled
	uint64_t head, end;
	unsigned pending;
	bool slow;
	uint64_t kept[CONSUMERS + 1];      // acknowledged messages that it holds back
	uint32_t passed[LINE][2];          // commands: of whom, how many messages
	uint64_t passed_end, applied;      // of them
	uint64_t passed_on[CONSUMERS + 1]; // messages
	uint64_t counted[CONSUMERS + 1];   // messages that the queue knows to be acknowledged
} there;

static struct {
	uint64_t number, sent[CONSUMERS + 1], handed[CONSUMERS + 1];
	bool asked, barrier;
	uint64_t barrier_sent[CONSUMERS + 1];
} ours;

static uint32_t drawn(uint32_t below)
{
	static uint32_t random = 7;

	random = random * 1103515245 + 12345;
	return (random >> 8) % below;
}

static void line_put(struct event event)
{
	there.line[there.end++ % LINE] = event;
	CHECK(there.end - there.head < LINE);
}

static void pass_on(uint32_t consumer, uint64_t messages)
{
	uint32_t *command = there.passed[there.passed_end++ % LINE];

	command[0] = consumer;
	command[1] = (uint32_t)messages;
	there.passed_on[consumer] += messages;
	there.slow = there.pending++ >= 32;
}

static void acknowledge(uint32_t consumer)
{
	if (!consumer)
		return;
	if (there.slow)
		++there.kept[consumer];
	else
		pass_on(consumer, 1);
}

static void on_applied(uint64_t count)
{
	there.pending -= (unsigned)count;
	if (there.pending >= 32 || !there.slow)
		return;
	there.slow = false;
	for (uint32_t consumer = 1; consumer <= CONSUMERS; ++consumer) {
		if (there.kept[consumer])
			pass_on(consumer, there.kept[consumer]);
		there.kept[consumer] = 0;
	}
}

static void apply_to(uint64_t end)
{
	uint64_t count = end - there.applied;

	for (; there.applied < end; ++there.applied) {
		const uint32_t *command = there.passed[there.applied % LINE];

		there.counted[command[0]] += command[1];
	}
	if (count)
		line_put((struct event){.kind = APPLIED, .number = count});
}

static void on_barrier(void)
{
	ours.barrier = false;
	for (uint32_t consumer = 1; consumer <= CONSUMERS; ++consumer)
		CHECK(there.passed_on[consumer] >= ours.barrier_sent[consumer]);
}

static void channel_step(void)
{
	struct event event = there.line[there.head % LINE];

	if (there.head == there.end)
		return;
	++there.head;
	switch (event.kind) {
	case ACK:
		acknowledge(event.consumer);
		acknowledge(event.other);
		break;
	case REQUEST:
		apply_to(there.passed_end);
		ours.asked = false;
		rabbitmq_proof_shown(&proof, event.number);
		break;
	case BARRIER: on_barrier(); break;
	case APPLIED: on_applied(event.number); break;
	}
}

static void send_ack(void)
{
	uint32_t consumer = 1 + drawn(CONSUMERS), other = drawn(8) ? 0 : 1 + drawn(CONSUMERS);

	other = other == consumer ? 0 : other;
	++ours.number;
	sent(ours.number, consumer, ours.sent[consumer]++);
	if (other)
		sent(ours.number, other, ours.sent[other]++);
	line_put((struct event){.kind = ACK, .consumer = consumer, .other = other});
}

static void hand_out(void)
{
	uint32_t consumer = 1 + drawn(CONSUMERS);
	uint64_t most = there.counted[consumer];

	if (ours.handed[consumer] == most)
		return;
	ours.handed[consumer] += 1 + drawn((uint32_t)(most - ours.handed[consumer]));
	rabbitmq_proof_handed(&proof, consumer, ours.handed[consumer]);
}

static void our_step(unsigned phase)
{
	uint32_t event = drawn(20);

	if (event < phase && there.end - there.head < LINE / 2) {
		send_ack();
	} else if (event == 17 && !ours.asked) {
		ours.asked = true;
		line_put((struct event){.kind = REQUEST, .number = ours.number});
	} else if (event == 18) {
		hand_out();
	} else if (event == 19 && !ours.barrier && rabbitmq_proof_is_safe(&proof)) {
		ours.barrier = true;
		memcpy(ours.barrier_sent, ours.sent, sizeof ours.sent);
		line_put((struct event){.kind = BARRIER});
	}
}

static void nothing_that_is_safe_is_held_back(void)
{
	unsigned phase = 10, barriers = 0, kept = 0;

	proof = (struct rabbitmq_proof){0};
	for (unsigned step = 0; step < STEPS; ++step) {
		bool barrier = ours.barrier;

		if (step % 300 == 0)
			phase = drawn(17);
		our_step(phase);
		if (drawn(2))
			channel_step();
		if (drawn(20) == 0 && there.passed_end > there.applied)
			apply_to(there.applied + 1 +
				 drawn((uint32_t)(there.passed_end - there.applied)));
		barriers += barrier && !ours.barrier;
		kept += there.kept[1] > 0;
	}
	CHECK(barriers > STEPS / 200 && kept > STEPS / 50);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"few are safe", few_are_safe},
		{"an answer shows what was sent before", an_answer_shows_what_was_sent_before},
		{"what is held back is let go", what_is_held_back_is_let_go},
		{"what is let go is a command for each consumer",
		 what_is_let_go_is_a_command_for_each_consumer},
		{"a delivery beyond the prefetch shows one more",
		 a_delivery_beyond_the_prefetch_shows_one_more},
		{"a delivery shows what is held back", a_delivery_shows_what_is_held_back},
		{"a run is one command", a_run_is_one_command},
		{"one of several shows those before", one_of_several_shows_those_before},
		{"nothing that is safe is held back", nothing_that_is_safe_is_held_back},
	};

	return unit_main(cases, ARRAY_SIZE(cases));
}
