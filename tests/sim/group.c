// A group: the dispatch engine over the real log source, with the tenant's consume quota: consumers
// that come, give credit, settle, let messages time out and go; dead letters; a source that is
// closed and opened again, or that loses what it has handed out; drain. Some consumers tell what
// they begin, some do not; some are lost, some fall silent, some are ended by the proxy.
//
// The model stands at the consumers' side and at the line between engine and source: which consumer
// holds what until when, how many attempts have ended, what was acked or copied. The backend does
// not fail here (source.c is about that), so every number is exact.

#include "tests/sim/sim.h"
#include "tests/sim/store.h"
#include "tests/sim/world.h"

#include "adapters/log/source.h"
#include "adapters/log/source_settle.h"
#include "core/base/clock.h"
#include "proxy/engine/dispatch.h"
#include "quota/quota.h"

enum { CONSUMERS = 4, IN_FLIGHT_MAX = 25, SETTLES = 12 };

#define HEAD_NS (30 * S_NS) // what holds the head for so long is moved to the retry store

struct consumer {
	struct dispatch_consumer consumer;
	bool joined, leaving;
	unsigned age; // the smallest is the oldest
	uint64_t messages, bytes, given, given_bytes, drain, drained;
	uint32_t held;
	bool tells, alone, silent;
	enum dispatch_leave why; // when leaving
	uint64_t begun, last_active_ns;
};

struct message {
	struct consumer *holder;
	uint64_t deadline_ns, due_ms; // the deadline: of what has begun
	uint64_t number, given_ns;
	bool extended, suspect;
	uint64_t seen_ns; // when it came from the source first
	bool released;    // open again: it comes before what is behind it
	uint32_t ended;   // attempts
	bool settling;    // by its holder, in this very call
	bool rejected, copying, done;
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
	uint64_t epoch,
		lost_epoch;        // of deliveries; of those before the last loss or close, 0: none
	uint32_t demand, rejected; // what the engine has demanded and not got
	uint64_t demand_bytes;
	bool late; // a copy of an earlier epoch is being confirmed
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
	return consumer->joined && !consumer->leaving && !consumer->silent && !m.paused;
}

static bool has_begun(const struct message *message)
{
	return !message->holder->tells || message->number <= message->holder->begun;
}

static uint32_t suspects(void)
{
	uint32_t count = 0;

	for (uint32_t p = 0; p < store.count; ++p)
		for (uint32_t i = 0; i < store.partitions[p].count; ++i)
			count += m.messages[p][i].suspect;
	return count;
}

// What was released comes before everything behind it, unless it lies in the retry store.
static void check_order(const struct delivery *delivery)
{
	const struct store_partition *part = &store.partitions[delivery->partition];

	for (uint32_t i = 0; part->messages[i].offset < delivery->offset; ++i) {
		const struct message *other = &m.messages[delivery->partition][i];

		SIM_MUST(!other->released || part->messages[i].kept ||
			 now_ns() >= other->seen_ns + HEAD_NS);
	}
}

static void on_deliver(void *ctx, struct dispatch_consumer *consumer,
		       const struct delivery *deliveries, size_t count, uint32_t flags)
{
	struct consumer *to = CONTAINER_OF(consumer, struct consumer, consumer);

	SIM_MUST(may_be_served(to));
	// Who does not tell what it begins gets a suspect when it holds nothing, and nothing
	// beside it.
	SIM_MUST(to->tells || !flags || (count == 1 && to->held == 0));
	SIM_MUST(!to->alone || to->held == 0);
	to->alone = flags && !to->tells;
	for (size_t i = 0; i < count; ++i) {
		const struct delivery *delivery = &deliveries[i];
		struct message *message = message_at(delivery->partition, delivery->offset);

		sim_trace("  consumer %zu gets %u/%llu, attempt %u", (size_t)(to - m.consumers),
			  delivery->partition, (unsigned long long)delivery->offset,
			  delivery->attempt);
		SIM_MUST(!message->holder && !message->done && !message->rejected &&
			 !message->copying);
		SIM_EQUAL(delivery->attempt, message->ended + 1);
		SIM_MUST(!is_last(message->ended));
		SIM_EQUAL(flags, !message->suspect ? 0 : is_last(message->ended + 1) ? 3 : 1);
		check_order(delivery);
		SIM_MUST(clock_now_ns() / MS_NS >= message->due_ms);
		SIM_MUST(to->given < to->messages && to->given_bytes < to->bytes);
		SIM_MUST(to->given_bytes + delivery->size <= to->bytes || to->held == 0);
		message->holder = to;
		message->given_ns = now_ns();
		message->deadline_ns = now_ns() + m.policy.visibility_ns;
		message->extended = message->released = false;
		m.epoch = delivery->epoch;
		message->number = ++to->given;
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

// Half of the visibility timeout without a word, and something is overdue.
static void on_silent(void *ctx, struct dispatch_consumer *consumer)
{
	struct consumer *silent = CONTAINER_OF(consumer, struct consumer, consumer);
	bool overdue = false;

	sim_trace("  consumer %zu is silent", (size_t)(silent - m.consumers));
	SIM_MUST(silent->joined && silent->tells && !silent->silent);
	SIM_MUST(now_ns() >= silent->last_active_ns + m.policy.visibility_ns / 2);
	for (uint32_t p = 0; p < store.count; ++p)
		for (uint32_t i = 0; i < store.partitions[p].count; ++i)
			overdue |= m.messages[p][i].holder == silent &&
				   m.messages[p][i].deadline_ns <= now_ns();
	SIM_MUST(overdue);
	silent->silent = true;
}

// Without a word of its holder: that one is lost or ended, or the time is over.
static void taken_away(struct message *message, const struct settle *settle)
{
	const struct consumer *holder = message->holder;
	bool failed = settle->verb == SETTLE_NACK || settle->verb == SETTLE_REJECT;

	if (holder->leaving && holder->why == DISPATCH_ENDED) {
		SIM_EQUAL(settle->verb, SETTLE_RELEASE);
	} else if (!holder->leaving && !holder->silent) {
		SIM_MUST(failed && has_begun(message) && message->deadline_ns <= now_ns());
		SIM_MUST(!holder->tells ||
			 now_ns() < holder->last_active_ns + m.policy.visibility_ns / 2);
	} else if (!has_begun(message)) {
		SIM_EQUAL(settle->verb, SETTLE_RELEASE);
	} else if (!message->suspect && (m.policy.marks_by_id || suspects() < IN_FLIGHT_MAX)) {
		SIM_EQUAL(settle->verb, SETTLE_RELEASE);
		message->suspect = true;
	} else {
		SIM_MUST(failed);
		SIM_MUST(settle->verb == SETTLE_REJECT ||
			 settle->delay_ms == MIN(10u << (settle->attempt - 1), 100u));
	}
}

// Out of the hands of its holder.
static void taken_back(struct message *message, const struct settle *settle)
{
	SIM_EQUAL(settle->attempt, message->ended + 1);
	if (!message->settling)
		taken_away(message, settle);
	message->released = settle->verb == SETTLE_RELEASE;
	if (settle->verb == SETTLE_ACK || (settle->verb == SETTLE_REJECT && !m.policy.marks_by_id))
		message->suspect = false;
	--message->holder->held;
	message->holder = NULL;
	message->settling = false;
	message->due_ms = 0;
	message->done = settle->verb == SETTLE_ACK;
	if (settle->verb == SETTLE_NACK || settle->verb == SETTLE_REJECT)
		message->ended = settle->attempt;
	if (settle->verb == SETTLE_NACK)
		message->due_ms = settle->delay_ms ? clock_now_ns() / MS_NS + settle->delay_ms : 0;
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
			if (settles[i].verb == SETTLE_RELEASE) {
				message->released = true; // it waited in the engine
				continue;
			}
			SIM_MUST(settles[i].verb == SETTLE_DEAD && message->copying);
			SIM_MUST(!m.late);
			message->copying = message->suspect = false;
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
	m.demand = messages;
	m.demand_bytes = bytes;
	m.rejected = rejected;
	if (m.source)
		log_source_demand(m.source, messages, bytes, rejected);
}

static void on_copy_dead_letter(void *ctx, const struct delivery *delivery,
				enum dispatch_reason reason, uint32_t attempts)
{
	struct message *message = message_at(delivery->partition, delivery->offset);

	sim_trace("  %u/%llu is copied", delivery->partition, (unsigned long long)delivery->offset);
	SIM_MUST(!message->holder && !message->done && !message->copying);
	SIM_MUST(message->rejected || is_last(message->ended));
	SIM_EQUAL(attempts, message->ended);
	m.epoch = delivery->epoch;
	message->copying = true;
}

static void on_release_request(void *ctx, void *request, bool lost)
{
	++m.answered;
}

// As proxy/group/group.c charges; never more than the rate for the time and one burst.
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

	for (size_t i = 0; i < count; ++i) {
		uint64_t all =
			told[i].ready + told[i].in_flight + told[i].retrying + told[i].delayed;

		SIM_EQUAL(told[i].log.end + told[i].counts.replayed,
			  all + told[i].acked + told[i].counts.dead + told[i].counts.expired +
				  told[i].counts.skipped);
		sum += only_ready ? told[i].ready : all;
	}
	return count ? sum : UINT64_MAX;
}

static uint64_t on_ready(void *ctx)
{
	return backlog(true);
}

static const struct dispatch_ops ops = {.deliver = on_deliver,
					.silent = on_silent,
					.drained = on_drained,
					.settle = on_settle,
					.demand = on_demand,
					.copy_dead_letter = on_copy_dead_letter,
					.release_request = on_release_request,
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
	for (size_t i = 0; i < count; ++i) {
		struct message *message = message_at(deliveries[i].partition, deliveries[i].offset);

		message->seen_ns = message->seen_ns ? message->seen_ns : now_ns();
		SIM_MUST(deliveries[i].rejected ? m.rejected : m.demand);
		--*(deliveries[i].rejected ? &m.rejected : &m.demand);
		m.demand_bytes -=
			deliveries[i].rejected ? 0 : MIN(m.demand_bytes, deliveries[i].size);
	}
	dispatch_arrived(m.dispatch, deliveries, count, now_ns());
	timer_arm();
}

static void on_source_state(void *ctx, enum source_state state, enum code code, const char *text)
{
	SIM_MUST(state == SOURCE_READY);
}

static const struct source_handlers handlers = {.deliver = on_source_deliver,
						.state = on_source_state};

static void source_make(void)
{
	struct source_config config = {
		.group = &m.group, .topic = &m.topic, .loop = m.loop, .handlers = &handlers};

	m.closed = false;
	SIM_EQUAL(log_source_open(&m.adapter, &store_ops, &config, &m.source), 0);
}

static void source_begin(void)
{
	source_make();
	m.demand = m.rejected = 0;
	dispatch_reset(m.dispatch);
	dispatch_tick(m.dispatch, now_ns());
	timer_arm();
}

static void on_closed(void *ctx)
{
	m.closed = true;
}

// What is held or being copied comes again: no attempt has ended. What was to be copied has had its
// last one. Marks of suspects go when they are kept by offset.
static void nothing_is_out(bool marks_stay)
{
	m.lost_epoch = m.epoch;
	for (uint32_t p = 0; p < store.count; ++p) {
		for (uint32_t i = 0; i < store.partitions[p].count; ++i) {
			struct message *message = &m.messages[p][i];

			if (message->holder)
				--message->holder->held;
			message->holder = NULL;
			message->copying = message->rejected = message->released = false;
			message->suspect &= marks_stay;
		}
	}
}

static void source_away(struct source *source)
{
	log_source_close(source, on_closed, NULL);
	while (!m.closed)
		world_pass(MS_NS);
}

static void source_end(void)
{
	struct source *source = m.source;

	sim_trace("the source is closed");
	m.source = NULL;
	dispatch_reset(m.dispatch);
	nothing_is_out(false);
	source_away(source);
}

// With nothing out, all credit that is left is demanded.
static void check_demand(void)
{
	uint64_t offered = 0;

	for (size_t i = 0; i < CONSUMERS; ++i) {
		const struct consumer *consumer = &m.consumers[i];

		if (may_be_served(consumer) && consumer->bytes > consumer->given_bytes)
			offered += consumer->messages - MIN(consumer->given, consumer->messages);
	}
	if (m.rate == GCRA_UNLIMITED)
		SIM_EQUAL(m.demand, MIN(offered, IN_FLIGHT_MAX));
}

// All that was handed out is void, and comes again in another epoch, which another source of the
// group stands for here. What was demanded and has not come is still to come.
static void source_loses(void)
{
	struct source *source = m.source;

	sim_trace("the source has lost what it handed out");
	m.source = NULL;
	dispatch_source_lost(m.dispatch, now_ns());
	nothing_is_out(m.policy.marks_by_id);
	check_demand();
	source_away(source);
	source_make();
	log_source_demand(m.source, m.demand, m.demand_bytes, m.rejected);
	timer_arm();
}

// ---- the consumers

static void join(struct consumer *consumer)
{
	*consumer = (struct consumer){
		.age = ++m.joins, .tells = !sim_one_in(3), .last_active_ns = now_ns()};
	consumer->joined =
		dispatch_join(m.dispatch, &consumer->consumer, consumer->tells, now_ns()) == 0;
	sim_trace("consumer %zu %s%s", (size_t)(consumer - m.consumers),
		  consumer->joined ? "comes" : "is refused",
		  consumer->tells ? ", tells what it begins" : "");
}

static void leave(struct consumer *consumer, enum dispatch_leave why)
{
	sim_trace("consumer %zu %s", (size_t)(consumer - m.consumers),
		  why == DISPATCH_LOST ? "is lost" : "is ended");
	consumer->leaving = true;
	consumer->why = why;
	dispatch_leave(m.dispatch, &consumer->consumer, why, now_ns());
	SIM_EQUAL(consumer->held, 0);
	consumer->joined = false;
}

// Their owner lets silent ones leave when the engine has returned.
static void end_silent(void)
{
	for (size_t i = 0; i < CONSUMERS; ++i) {
		if (!m.consumers[i].joined || !m.consumers[i].silent)
			continue;
		SIM_EQUAL(m.consumers[i].held, 0);
		leave(&m.consumers[i], DISPATCH_ENDED);
	}
}

// A frame of the consumer: it lives, and some more of what it holds may have begun.
static void tell(struct consumer *consumer)
{
	uint64_t before = consumer->begun;

	consumer->last_active_ns = now_ns();
	if (consumer->tells)
		consumer->begun += sim_below(MIN(consumer->given - before, 6) + 1);
	for (uint32_t p = 0; p < store.count; ++p) {
		for (uint32_t i = 0; i < store.partitions[p].count; ++i) {
			struct message *message = &m.messages[p][i];

			if (message->holder == consumer && message->number > before &&
			    message->number <= consumer->begun)
				message->deadline_ns = now_ns() + m.policy.visibility_ns;
		}
	}
	if (consumer->tells)
		sim_trace("consumer %zu has begun up to %llu", (size_t)(consumer - m.consumers),
			  (unsigned long long)consumer->begun);
	dispatch_heartbeat(m.dispatch, &consumer->consumer, consumer->begun, now_ns());
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
	struct settle settle = {
		.epoch = m.epoch,
		.offset = store.partitions[p].messages[i].offset,
		.count = 1,
		.partition = p,
		.attempt = message->ended + 1,
		.number = (uint32_t)(consumer->tells ? message->number : sim_below(9)),
		.delay_ms = sim_one_in(8) ? 61000 : (uint32_t)sim_below(1500),
		.verb = (uint8_t)verb};
	struct consumer *other = &m.consumers[sim_below(CONSUMERS)];
	bool wrong = sim_one_in(12), refused = verb == SETTLE_REJECT && !m.policy.dead_letter;
	size_t rejected;

	if (wrong && other->joined && other != consumer)
		consumer = other; // what another consumer holds
	else if (wrong && m.lost_epoch && sim_one_in(2))
		settle.epoch = m.lost_epoch; // what its offset stood for before the loss
	else if (wrong && consumer->tells && sim_one_in(2))
		settle.number -= 1; // a delivery before this one
	else if (wrong)
		settle.attempt += 1;
	if (!wrong && !refused) {
		message->settling = verb != SETTLE_EXTEND;
		message->rejected = verb == SETTLE_REJECT;
		if (verb == SETTLE_EXTEND && has_begun(message)) {
			message->extended = true;
			message->deadline_ns = now_ns() + settle.delay_ms * MS_NS;
		}
	}
	consumer->last_active_ns = now_ns();
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

// Also of copies that were on their way when the source lost their messages.
static void confirm_copies(void)
{
	for (uint32_t p = 0; p < store.count; ++p) {
		for (uint32_t i = 0; i < store.partitions[p].count; ++i) {
			if (!m.messages[p][i].copying || !sim_one_in(2))
				continue;
			m.late = m.lost_epoch && sim_one_in(3);
			dispatch_dead_letter_copied(m.dispatch, m.late ? m.lost_epoch : m.epoch, p,
						    store.partitions[p].messages[i].offset,
						    now_ns());
			m.late = false;
		}
	}
}

// ---- what must hold between two events

// A deadline is late by a hundredth of the timeout at most; by a sixteenth more where it counts
// from the begin that was told. What has not begun has none while something is heard of its
// consumer.
static void check_deadline(const struct message *message)
{
	const struct consumer *holder = message->holder;
	uint64_t limit_ns = message->deadline_ns;

	if (!has_begun(message))
		limit_ns = MAX(holder->last_active_ns, message->given_ns) + m.policy.visibility_ns;
	else if (holder->tells && !message->extended)
		limit_ns += m.policy.visibility_ns / 16;
	SIM_MUST(limit_ns + 11 * MS_NS > now_ns());
}

static uint64_t check(void)
{
	uint64_t open = 0, told = backlog(false);
	uint32_t held = 0;

	for (uint32_t p = 0; p < store.count; ++p) {
		for (uint32_t i = 0; i < store.partitions[p].count; ++i) {
			const struct message *message = &m.messages[p][i];

			open += !message->done;
			held += message->holder != NULL;
			if (message->holder)
				check_deadline(message);
		}
	}
	SIM_EQUAL(dispatch_in_flight(m.dispatch), held);
	SIM_EQUAL(dispatch_suspects(m.dispatch), suspects());
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
	else if (event == 6 && sim_one_in(10))
		source_loses();
	else if (!consumer->joined)
		join(consumer);
	else if (event == 7 && sim_one_in(4))
		leave(consumer, sim_one_in(3) ? DISPATCH_ENDED : DISPATCH_LOST);
	else if (event < 9)
		tell(consumer);
	else if (event < 11)
		credit(consumer, sim_one_in(10));
	else
		settle_some(consumer, SETTLES, false);
	timer_arm();
	world_run();
	end_silent();
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
					    .dead_letter = !sim_one_in(4),
					    .marks_by_id = sim_one_in(3)};
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
			leave(&m.consumers[i], DISPATCH_LOST);
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
			if (m.consumers[i].joined)
				tell(&m.consumers[i]);
		for (size_t i = 0; i < CONSUMERS; ++i)
			settle_some(&m.consumers[i], SETTLES, true);
		confirm_copies();
		timer_arm();
		world_pass(100 * MS_NS);
		end_silent();
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
