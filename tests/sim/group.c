// A group: the dispatch engine over the real log source, with the tenant's consume quota: consumers
// that come, give credit, settle, let messages time out and go; dead letters; a source that is
// closed and opened again; drain.
//
// The model stands at the consumers' side and at the line between engine and source: who holds what
// until when, how many attempts have ended, what was acked or copied. The backend does not fail
// here (source.c is about that), so every number is exact.

#include "tests/sim/sim.h"
#include "tests/sim/store.h"
#include "tests/sim/world.h"

#include "core/base/clock.h"
#include "proxy/dispatch.h"
#include "quota/quota.h"

enum { CONSUMERS = 4, IN_FLIGHT_MAX = 25, SETTLES = 12 };

struct consumer {
	struct dispatch_consumer consumer;
	bool joined, leaving;
	unsigned age; // the smallest is the oldest
	uint64_t messages, bytes, given, given_bytes, drain, drained;
	uint32_t held;
};

struct message {
	struct consumer *holder;
	uint64_t deadline_ns, due_ms;
	uint32_t ended; // attempts
	bool settling;  // by its holder, in this very call
	bool rejected, burying, done;
};

static struct {
	struct loop *loop;
	struct topic topic;
	struct group group;
	struct adapter adapter;
	struct source *source; // NULL: closed, or closing
	struct dispatch *dispatch;
	struct dispatch_policy policy;
	struct loop_timer timer;
	struct message messages[STORE_PARTITIONS][STORE_MESSAGES];
	struct consumer consumers[CONSUMERS];
	unsigned joins;
	struct quota_ledger ledger;
	uint64_t rate, since_ns, charged;
	uint64_t epoch;
	bool paused, closed;
	uint64_t held_requests, answered; // rejects that wait for their copy
} m;

static uint64_t now_ns(void)
{
	return loop_now_ns(m.loop);
}

static struct message *message_at(uint32_t partition, uint64_t offset)
{
	struct store_message *stored = store_find(partition, offset);

	SIM_MUST(stored);
	return &m.messages[partition][stored - store.partitions[partition].messages];
}

static bool is_last(uint32_t attempt)
{
	return m.policy.dead_letter && m.policy.max_attempts && attempt >= m.policy.max_attempts;
}

// ---- what the engine does

static bool may_be_served(const struct consumer *consumer)
{
	for (size_t i = 0; i < CONSUMERS && m.policy.mode == GROUP_FAILOVER; ++i)
		if (m.consumers[i].joined && !m.consumers[i].leaving &&
		    m.consumers[i].age < consumer->age)
			return false;
	return consumer->joined && !consumer->leaving && !m.paused;
}

static void on_deliver(void *ctx, struct dispatch_consumer *consumer,
		       const struct delivery *deliveries, size_t count)
{
	struct consumer *to = CONTAINER_OF(consumer, struct consumer, consumer);

	SIM_MUST(may_be_served(to));
	for (size_t i = 0; i < count; ++i) {
		const struct delivery *delivery = &deliveries[i];
		struct message *message = message_at(delivery->partition, delivery->offset);

		sim_trace("  consumer %zu gets %u/%llu, attempt %u", (size_t)(to - m.consumers),
			  delivery->partition, (unsigned long long)delivery->offset,
			  delivery->attempt);
		SIM_MUST(!message->holder && !message->done && !message->rejected &&
			 !message->burying);
		SIM_EQUAL(delivery->attempt, message->ended + 1);
		SIM_MUST(!is_last(message->ended));
		SIM_MUST((uint64_t)clock_wall_ms() >= message->due_ms);
		SIM_MUST(to->given < to->messages && to->given_bytes < to->bytes);
		SIM_MUST(to->given_bytes + delivery->size <= to->bytes || to->held == 0);
		message->holder = to;
		message->deadline_ns = now_ns() + m.policy.visibility_ns;
		m.epoch = delivery->epoch;
		++to->given;
		++to->held;
		to->given_bytes += delivery->size;
	}
	SIM_MUST(dispatch_in_flight(m.dispatch) <= IN_FLIGHT_MAX);
}

static void on_drained(void *ctx, struct dispatch_consumer *consumer, uint64_t number)
{
	struct consumer *to = CONTAINER_OF(consumer, struct consumer, consumer);

	SIM_MUST(number == to->drain && number > to->drained);
	to->drained = number;
	to->messages = to->given;
	to->bytes = to->given_bytes;
}

// Out of the hands of its holder: by its word, or because its time is over or it leaves.
static void taken_back(struct message *message, const struct settle *settle)
{
	SIM_EQUAL(settle->attempt, message->ended + 1);
	if (!message->settling)
		SIM_MUST((settle->verb == SETTLE_NACK || settle->verb == SETTLE_REJECT) &&
			 (message->holder->leaving || message->deadline_ns <= now_ns()));
	--message->holder->held;
	message->holder = NULL;
	message->settling = false;
	message->due_ms = 0;
	message->done = settle->verb == SETTLE_ACK;
	if (settle->verb == SETTLE_NACK || settle->verb == SETTLE_REJECT)
		message->ended = settle->attempt;
	if (settle->verb == SETTLE_NACK)
		message->due_ms =
			settle->delay_ms ? (uint64_t)clock_wall_ms() + settle->delay_ms : 0;
	SIM_MUST(settle->verb != SETTLE_REJECT || message->rejected || is_last(message->ended));
	SIM_MUST(settle->verb != SETTLE_NACK || !is_last(message->ended));
}

static void on_settle(void *ctx, struct settle *settles, size_t count, void *request)
{
	for (size_t i = 0; i < count; ++i) {
		for (uint32_t k = 0; k < settles[i].count; ++k) {
			struct message *message =
				message_at(settles[i].partition, settles[i].offset + k);

			if (message->holder) {
				taken_back(message, &settles[i]);
				continue;
			}
			SIM_MUST(settles[i].verb == SETTLE_ACK && message->burying);
			message->burying = false;
			message->done = true;
		}
	}
	SIM_MUST(m.source);
	log_source_settle(m.source, settles, count, NULL, NULL);
	for (size_t i = 0; i < count; ++i)
		SIM_EQUAL(settles[i].settled, settles[i].count);
}

static void on_demand(void *ctx, uint32_t messages, uint64_t bytes, uint32_t rejected)
{
	SIM_MUST(messages == 0 || !m.paused);
	SIM_MUST(messages + dispatch_in_flight(m.dispatch) <= IN_FLIGHT_MAX && rejected <= 16);
	if (m.source)
		log_source_demand(m.source, messages, bytes, rejected);
}

static void on_bury(void *ctx, const struct delivery *delivery, enum dispatch_reason reason,
		    uint32_t attempts)
{
	struct message *message = message_at(delivery->partition, delivery->offset);

	sim_trace("  %u/%llu is copied", delivery->partition, (unsigned long long)delivery->offset);
	SIM_MUST(!message->holder && !message->done && !message->burying);
	SIM_MUST(message->rejected || is_last(message->ended));
	SIM_EQUAL(attempts, message->ended);
	message->burying = true;
}

static void on_unhold(void *ctx, void *request, bool lost)
{
	++m.answered;
}

// As proxy/group.c charges; never more than the rate for the time and one burst.
static size_t on_charge(void *ctx, const struct delivery *deliveries, size_t count,
			uint64_t time_ns, uint64_t *ret_retry_ns)
{
	struct quota_charge charge;
	struct quota_answer why;
	uint64_t total = 0;
	size_t passed;

	for (size_t i = 0; i < count; ++i)
		total += deliveries[i].size;
	passed = quota_charge_batch(&m.ledger, QUOTA_CONSUME, &deliveries->size, sizeof *deliveries,
				    count, total, time_ns, &charge);
	quota_charge_close(&charge);
	m.charged += passed;
	SIM_MUST(m.rate == GCRA_UNLIMITED ||
		 m.charged <= m.rate * (time_ns - m.since_ns) / S_NS + MAX(m.rate / 5, 1) + 1);
	if (passed < count) {
		quota_explain(&m.ledger, QUOTA_CONSUME, deliveries[passed].size, time_ns, &why);
		*ret_retry_ns = time_ns + MAX(why.wait_ns, MS_NS);
	}
	return passed;
}

static uint64_t backlog(bool only_ready)
{
	struct source_partition told[STORE_PARTITIONS];
	size_t count = m.source ? log_source_backlog(m.source, told, STORE_PARTITIONS) : 0;
	uint64_t sum = 0;

	for (size_t i = 0; i < count; ++i)
		sum += told[i].ready +
		       (only_ready ? 0 : told[i].in_flight + told[i].retrying + told[i].delayed);
	return count ? sum : UINT64_MAX;
}

static uint64_t on_ready(void *ctx)
{
	return backlog(true);
}

static const struct dispatch_ops ops = {.deliver = on_deliver,
					.drained = on_drained,
					.settle = on_settle,
					.demand = on_demand,
					.bury = on_bury,
					.unhold = on_unhold,
					.charge = on_charge,
					.ready = on_ready};

// ---- the source

static void timer_arm(void)
{
	uint64_t next_ns = dispatch_next_ns(m.dispatch);

	if (next_ns == UINT64_MAX)
		loop_timer_cancel(&m.timer);
	else
		loop_timer_set(&m.timer, next_ns);
}

static void on_timer(struct loop_timer *timer)
{
	dispatch_tick(m.dispatch, now_ns());
	timer_arm();
}

static void on_source_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	dispatch_arrived(m.dispatch, deliveries, count, now_ns());
	timer_arm();
}

static void on_source_state(void *ctx, enum source_state state, enum code code, const char *text)
{
	SIM_MUST(state == SOURCE_READY);
}

static const struct source_handlers handlers = {on_source_deliver, on_source_state};

static void source_begin(void)
{
	struct source_config config = {
		.group = &m.group, .topic = &m.topic, .loop = m.loop, .handlers = &handlers};

	m.closed = false;
	SIM_EQUAL(log_source_open(&m.adapter, &store_ops, &config, &m.source), 0);
	dispatch_reset(m.dispatch);
	dispatch_tick(m.dispatch, now_ns());
	timer_arm();
}

static void on_closed(void *ctx)
{
	m.closed = true;
}

// What is held or being copied comes again: no attempt has ended. What was to be copied has had its
// last one.
static void source_end(void)
{
	struct source *source = m.source;

	sim_trace("the source is closed");
	m.source = NULL;
	dispatch_reset(m.dispatch);
	for (uint32_t p = 0; p < store.count; ++p) {
		for (uint32_t i = 0; i < store.partitions[p].count; ++i) {
			struct message *message = &m.messages[p][i];

			if (message->holder)
				--message->holder->held;
			message->holder = NULL;
			message->burying = message->rejected = false;
		}
	}
	log_source_close(source, on_closed, NULL);
	while (!m.closed)
		world_pass(MS_NS);
}

// ---- the consumers

static void join(struct consumer *consumer)
{
	*consumer = (struct consumer){.age = ++m.joins};
	consumer->joined = dispatch_join(m.dispatch, &consumer->consumer) == 0;
	sim_trace("consumer %zu %s", (size_t)(consumer - m.consumers),
		  consumer->joined ? "comes" : "is refused");
}

static void leave(struct consumer *consumer)
{
	sim_trace("consumer %zu goes", (size_t)(consumer - m.consumers));
	consumer->leaving = true;
	dispatch_leave(m.dispatch, &consumer->consumer, now_ns());
	SIM_EQUAL(consumer->held, 0);
	consumer->joined = false;
}

static void credit(struct consumer *consumer, bool drain)
{
	consumer->messages += sim_below(15);
	consumer->bytes += sim_below(1500);
	consumer->drain += drain;
	sim_trace("consumer %zu: credit %llu, %llu bytes%s", (size_t)(consumer - m.consumers),
		  (unsigned long long)consumer->messages, (unsigned long long)consumer->bytes,
		  drain ? ", drain" : "");
	dispatch_credit(m.dispatch, &consumer->consumer, consumer->messages, consumer->bytes,
			consumer->drain, now_ns());
}

static bool settle_one(struct consumer *consumer, uint32_t p, uint32_t i, enum settle_verb verb)
{
	struct message *message = &m.messages[p][i];
	struct settle settle = {.epoch = m.epoch,
				.offset = store.partitions[p].messages[i].offset,
				.count = 1,
				.partition = p,
				.attempt = message->ended + 1,
				.delay_ms = sim_one_in(8) ? 61000 : (uint32_t)sim_below(1500),
				.verb = (uint8_t)verb};
	struct consumer *other = &m.consumers[sim_below(CONSUMERS)];
	bool wrong = sim_one_in(12), refused = verb == SETTLE_REJECT && !m.policy.dead_letter;
	size_t rejected;

	if (wrong && other->joined && other != consumer)
		consumer = other; // what somebody else holds
	else if (wrong)
		settle.attempt += 1;
	if (!wrong && !refused) {
		message->settling = verb != SETTLE_EXTEND;
		message->rejected = verb == SETTLE_REJECT;
		if (verb == SETTLE_EXTEND)
			message->deadline_ns = now_ns() + settle.delay_ms * MS_NS;
	}
	sim_trace("consumer %zu settles %u/%llu, verb %u, %u ms%s",
		  (size_t)(consumer - m.consumers), p, (unsigned long long)settle.offset, verb,
		  settle.delay_ms, wrong ? ", wrongly" : "");
	rejected = dispatch_settle(m.dispatch, &consumer->consumer, &settle, 1, &m, now_ns());
	m.held_requests += rejected;
	SIM_EQUAL(rejected, verb == SETTLE_REJECT && !wrong && !refused);
	SIM_EQUAL(settle.settled, !wrong && !refused);
	return settle.settled;
}

static void settle_some(struct consumer *consumer, unsigned most, bool only_ack)
{
	static const enum settle_verb verbs[] = {SETTLE_ACK,    SETTLE_ACK,     SETTLE_NACK,
						 SETTLE_EXTEND, SETTLE_RELEASE, SETTLE_REJECT};

	for (uint32_t p = 0; p < store.count; ++p)
		for (uint32_t i = 0; i < store.partitions[p].count && most; ++i)
			if (m.messages[p][i].holder == consumer && (only_ack || sim_one_in(2)))
				most -= settle_one(consumer, p, i,
						   only_ack ? SETTLE_ACK
							    : verbs[sim_below(ARRAY_SIZE(verbs))]);
}

static void confirm_copies(void)
{
	for (uint32_t p = 0; p < store.count; ++p)
		for (uint32_t i = 0; i < store.partitions[p].count; ++i)
			if (m.messages[p][i].burying && sim_one_in(2))
				dispatch_buried(m.dispatch, p,
						store.partitions[p].messages[i].offset, now_ns());
}

// ---- what must hold between two events

static uint64_t check(void)
{
	uint64_t open = 0, told = backlog(false);
	uint32_t held = 0;

	for (uint32_t p = 0; p < store.count; ++p) {
		for (uint32_t i = 0; i < store.partitions[p].count; ++i) {
			const struct message *message = &m.messages[p][i];

			open += !message->done;
			held += message->holder != NULL;
			// A deadline is late by a hundredth of the timeout at most.
			SIM_MUST(!message->holder || message->deadline_ns + 11 * MS_NS > now_ns());
		}
	}
	SIM_EQUAL(dispatch_in_flight(m.dispatch), held);
	SIM_MUST(told == UINT64_MAX || told == open);
	return open;
}

static void step(void)
{
	struct consumer *consumer = &m.consumers[sim_below(CONSUMERS)];
	uint64_t event = sim_below(16);

	if (event < 2)
		for (uint64_t count = 1 + sim_below(6); count; --count)
			store_append((uint32_t)sim_below(store.count), 0, 0, 0);
	else if (event < 5)
		world_pass(sim_below(sim_one_in(6) ? 40 * S_NS : 400 * MS_NS));
	else if (event == 5)
		confirm_copies();
	else if (event == 6 && sim_one_in(15))
		source_end(), source_begin();
	else if (!consumer->joined)
		join(consumer);
	else if (event == 7 && sim_one_in(4))
		leave(consumer);
	else if (event < 11)
		credit(consumer, sim_one_in(10));
	else
		settle_some(consumer, SETTLES, false);
	timer_arm();
	world_run();
	check();
}

static void start(void)
{
	static const uint8_t modes[] = {GROUP_SHARED, GROUP_SHARED, GROUP_EXCLUSIVE,
					GROUP_FAILOVER};
	struct tenant_limits limits = {.produce_tps = GCRA_UNLIMITED,
				       .produce_bps = GCRA_UNLIMITED,
				       .consume_bps = GCRA_UNLIMITED};

	memset(&m, 0, sizeof m);
	m.loop = world_start(S_NS, 1700000000000);
	m.topic = (struct topic){.object.refs = 1, .partitions = 1 + (uint32_t)sim_below(3)};
	m.group = (struct group){.object.refs = 1};
	m.policy = (struct dispatch_policy){.visibility_ns = S_NS,
					    .retry_delay_ms = 10,
					    .retry_delay_max_ms = 100,
					    .in_flight_max = IN_FLIGHT_MAX,
					    .max_attempts = 1 + (uint32_t)sim_below(4),
					    .mode = modes[sim_below(ARRAY_SIZE(modes))],
					    .dead_letter = !sim_one_in(4)};
	m.rate = sim_one_in(2) ? GCRA_UNLIMITED : 5 + sim_below(100);
	m.since_ns = now_ns();
	limits.consume_tps = m.rate;
	quota_ledger_init(&m.ledger, &limits, 0);
	store_start(m.topic.partitions);
	store.delay_ns = sim_below(20 * MS_NS);
	loop_timer_init(&m.timer, m.loop, on_timer);
	SIM_EQUAL(dispatch_new(&m.policy, &ops, NULL, &m.dispatch), 0);
	source_begin();
}

// Nothing more is handed out; consumers settle what they hold; then nothing is held.
static void drain(void)
{
	sim_trace("drain");
	m.paused = true;
	dispatch_pause(m.dispatch, true, now_ns());
	for (size_t i = 0; i < CONSUMERS; ++i)
		while (m.consumers[i].held)
			settle_some(&m.consumers[i], SETTLES, true);
	SIM_EQUAL(dispatch_in_flight(m.dispatch), 0);
	for (size_t i = 0; i < CONSUMERS; ++i)
		if (m.consumers[i].joined)
			leave(&m.consumers[i]);
	source_end();
	m.paused = false;
	dispatch_pause(m.dispatch, false, now_ns());
	source_begin();
}

static void finish(void)
{
	drain();
	for (unsigned round = 0; round < 3000 && check(); ++round) {
		struct consumer *consumer = &m.consumers[round % CONSUMERS];

		if (!consumer->joined)
			join(consumer);
		if (consumer->joined)
			credit(consumer, false);
		for (size_t i = 0; i < CONSUMERS; ++i)
			settle_some(&m.consumers[i], SETTLES, true);
		confirm_copies();
		timer_arm();
		world_pass(100 * MS_NS);
	}
	SIM_EQUAL(check(), 0);
	SIM_EQUAL(m.held_requests, m.answered);
	drain();
	source_end();
	dispatch_free(m.dispatch);
	loop_timer_cancel(&m.timer);
	quota_ledger_deinit(&m.ledger);
	for (uint32_t p = 0; p < store.count; ++p)
		SIM_EQUAL(store.partitions[p].position, store.partitions[p].end);
	store_end();
	world_end();
}

const struct sim_engine sim_group = {"group", 150, start, step, finish};
