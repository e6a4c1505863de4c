// proxy/dispatch and proxy/flight: random schedules in virtual time against a model of a source and
// its consumers; the seed of a failing schedule is printed. Plus one plain case for each promise.
//
// A number as argument runs that schedule alone.

#include "proxy/engine/dispatch.h"
#include "proxy/engine/flight.h"
#include "tests/unit/unit.h"

#include <stdbool.h>
#include <stdlib.h>

enum { PARTITIONS = 3, MESSAGES = 400, CONSUMERS = 5, RECORD = 100, IN_FLIGHT_MAX = 60 };

static unsigned long long seed_shown;
static uint64_t rng;

static uint64_t random_below(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

#define SAY(condition)                                                                             \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: seed %llu: not so: %s\n", __FILE__, __LINE__,      \
				seed_shown, #condition);                                           \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

// ---- flight map against an array

static void flight_map_equals_model(void)
{
	enum { SPAN = 600 };
	struct flight_map map = {0};
	uint32_t model[SPAN] = {0};
	uint64_t base = UINT64_MAX - 300; // also across the wrap of the offset

	rng = 99;
	for (unsigned step = 0; step < 60000; ++step) {
		size_t at = random_below(SPAN);
		uint64_t offset = base + at * (step % 2 ? 1 : 64);
		struct flight *flight;

		at = (size_t)((offset - base) % SPAN);
		offset = base + at;
		flight = flight_map_find(&map, offset);
		SAY((flight != NULL) == (model[at] != 0));
		if (flight) {
			SAY(flight->attempt == model[at]);
			flight_map_remove(&map, flight);
			model[at] = 0;
		} else {
			SAY(flight_map_reserve(&map, 1) == 0);
			flight = flight_map_put(&map, offset);
			flight->state = FLIGHT_OWNED;
			flight->attempt = model[at] = step + 1;
		}
	}
	flight_map_deinit(&map);
}

// ---- the model

enum place { UNWRITTEN, NEW, DUE, REJECTED, OUT, HELD, DONE };

struct message {
	enum place place;
	uint32_t attempt;
	uint64_t due_ns, deadline_ns; // DUE; HELD
	unsigned holder;              // HELD
	bool settled;                 // HELD: the consumer has settled it in this very call
	bool left;                    // HELD: the consumer is leaving
	bool suspect;                 // a consumer that held it was lost
	bool rejected, acked, dead, copying;
};

struct consumer {
	struct dispatch_consumer consumer;
	bool joined;
	uint64_t messages, bytes, given, given_bytes, drain, drained;
	uint32_t held;
	bool alone; // with a suspect
};

static struct model {
	struct dispatch *dispatch;
	struct message messages[PARTITIONS][MESSAGES];
	uint64_t written[PARTITIONS];
	struct consumer consumers[CONSUMERS];
	uint64_t now_ns, epoch;
	uint32_t demand, demand_rejected;
	uint64_t demand_bytes;
	uint64_t quota; // messages that the quota lets pass until it is filled again
	bool limited;
	uint32_t max_attempts;
	bool dead_letter, log_loses;
	struct buf *buf;
	size_t held, unheld; // rejects that wait for their dead-letter copy
} m;

static uint32_t size_of(uint32_t partition, uint64_t offset)
{
	return 40 + (uint32_t)(partition * 7 + offset * 13) % RECORD;
}

static void on_deliver(void *ctx, struct dispatch_consumer *consumer,
		       const struct delivery *deliveries, size_t count, uint32_t flags)
{
	struct consumer *to = CONTAINER_OF(consumer, struct consumer, consumer);

	SAY(to->joined && count > 0);
	// A consumer that does not tell what it begins gets a suspect when it holds nothing, and
	// nothing beside it.
	SAY(!flags || (count == 1 && to->held == 0));
	SAY(!to->alone || to->held == 0);
	to->alone = flags;
	for (size_t i = 0; i < count; ++i) {
		const struct delivery *d = &deliveries[i];
		struct message *message = &m.messages[d->partition][d->offset];

		SAY(message->place == OUT && message->attempt == d->attempt);
		SAY(message->suspect == (flags != 0));
		SAY(((flags & DISPATCH_FLAG_LAST) != 0) ==
		    (message->suspect && m.dead_letter && d->attempt == m.max_attempts));
		SAY(!message->acked && !message->dead && !message->copying);
		SAY(!m.dead_letter || d->attempt <= m.max_attempts);
		SAY(to->given < to->messages && to->given_bytes < to->bytes);
		SAY(to->given_bytes + d->size <= to->bytes || to->held == 0);
		message->place = HELD;
		message->holder = (unsigned)(to - m.consumers);
		message->deadline_ns = m.now_ns + S_NS;
		message->rejected = false;
		++to->given;
		++to->held;
		to->given_bytes += d->size;
	}
	SAY(dispatch_in_flight(m.dispatch) <= IN_FLIGHT_MAX);
}

static void on_drained(void *ctx, struct dispatch_consumer *consumer, uint64_t number)
{
	struct consumer *to = CONTAINER_OF(consumer, struct consumer, consumer);

	SAY(number == to->drain && number > to->drained);
	to->drained = number;
	to->messages = to->given;
	to->bytes = to->given_bytes;
}

static void release(struct message *message)
{
	--m.consumers[message->holder].held;
	message->settled = false;
	message->left = false;
}

static void source_settle(const struct settle *settle, uint64_t offset)
{
	struct message *message = &m.messages[settle->partition][offset];

	SAY(settle->epoch == m.epoch && settle->attempt == message->attempt);
	if (message->place == OUT) {
		// ACK: there was nothing left to be copied.
		SAY(message->copying ? settle->verb == SETTLE_DEAD || settle->verb == SETTLE_ACK
				     : settle->verb == SETTLE_RELEASE);
	} else {
		SAY(message->place == HELD);
		// Without the consumer's word only a timeout or its leaving takes a message back:
		// the first time it makes a suspect of it, and only later costs an attempt.
		if (!message->settled && message->left && !message->suspect) {
			SAY(settle->verb == SETTLE_RELEASE);
			message->suspect = true;
		} else if (!message->settled) {
			SAY((settle->verb == SETTLE_NACK || settle->verb == SETTLE_REJECT) &&
			    (message->left || message->deadline_ns <= m.now_ns));
		}
		release(message);
	}
	switch (settle->verb) {
	case SETTLE_ACK:
	case SETTLE_DEAD:
		message->place = DONE;
		message->suspect = false;
		if (message->copying)
			message->dead = true;
		else
			message->acked = true;
		message->copying = false;
		break;
	case SETTLE_NACK:
		message->place = DUE;
		message->due_ns = m.now_ns + settle->delay_ms * MS_NS;
		++message->attempt;
		break;
	case SETTLE_REJECT:
		SAY(m.dead_letter && (message->rejected || message->attempt == m.max_attempts));
		message->place = REJECTED;
		message->suspect = false;
		++message->attempt;
		break;
	default: message->place = DUE; message->due_ns = m.now_ns;
	}
}

static void on_settle(void *ctx, struct settle *settles, size_t count, void *request)
{
	for (size_t i = 0; i < count; ++i)
		for (uint32_t k = 0; k < settles[i].count; ++k)
			source_settle(&settles[i], settles[i].offset + k);
}

// What consumers have credit for, less what they could not be handed at once; beside it
// dead letters.
static void on_demand(void *ctx, uint32_t messages, uint64_t bytes, uint32_t rejected)
{
	uint64_t credit = 0, pending = 0, held = 0, out = 0;

	for (unsigned i = 0; i < CONSUMERS; ++i)
		if (m.consumers[i].joined)
			credit += m.consumers[i].messages - m.consumers[i].given;
	for (unsigned p = 0; p < PARTITIONS; ++p) {
		for (uint64_t i = 0; i < m.written[p]; ++i) {
			const struct message *message = &m.messages[p][i];

			held += message->place == HELD;
			out += message->place == OUT && !message->copying;
			pending += message->place == REJECTED;
		}
	}
	SAY(messages <= credit && messages + held + out <= IN_FLIGHT_MAX);
	SAY(rejected <= MIN(pending, 16u));
	m.demand = messages;
	m.demand_rejected = rejected;
	m.demand_bytes = bytes;
}

static void on_copy_dead_letter(void *ctx, const struct delivery *delivery,
				enum dispatch_reason reason, uint32_t attempts)
{
	struct message *message = &m.messages[delivery->partition][delivery->offset];

	SAY(message->place == OUT && !message->copying && m.dead_letter);
	if (message->rejected)
		SAY(reason == DISPATCH_REJECTED || attempts == m.max_attempts);
	else
		SAY(reason == DISPATCH_ATTEMPTS && attempts == m.max_attempts);
	message->copying = true;
}

static void on_release_request(void *ctx, void *request, bool lost)
{
	++m.unheld;
}

static size_t on_charge(void *ctx, const struct delivery *deliveries, size_t count, uint64_t now_ns,
			uint64_t *ret_retry_ns)
{
	size_t n = m.limited ? MIN(count, m.quota) : count;

	if (m.limited)
		m.quota -= n;
	*ret_retry_ns = now_ns + 20 * MS_NS;
	return n;
}

static uint64_t on_ready(void *ctx)
{
	uint64_t ready = 0;

	for (unsigned p = 0; p < PARTITIONS; ++p)
		for (uint64_t i = 0; i < m.written[p]; ++i)
			ready += m.messages[p][i].place == NEW ||
				 (m.messages[p][i].place == DUE &&
				  m.messages[p][i].due_ns <= m.now_ns);
	return ready;
}

// No consumer here tells what it begins, so none is ever silent.
static void on_silent(void *ctx, struct dispatch_consumer *consumer)
{
	SAY(false);
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

// ---- what the source does

static bool find_deliverable(enum place place, uint32_t *ret_partition, uint64_t *ret_offset)
{
	for (unsigned p = 0; p < PARTITIONS; ++p) {
		for (uint64_t i = 0; i < m.written[p]; ++i) {
			struct message *message = &m.messages[p][i];

			if (message->place != place || (place == DUE && message->due_ns > m.now_ns))
				continue;
			*ret_partition = p;
			*ret_offset = i;
			return true;
		}
	}
	return false;
}

// What is to be copied, then what is due again, then new; never more than the demand but for the
// bytes of one message. Now and then the log has lost what it should bring for its copy.
static void source_pump(size_t most)
{
	struct delivery batch[32];
	size_t count = 0;

	while (count < MIN(most, ARRAY_SIZE(batch))) {
		struct delivery *d = &batch[count];
		bool wanted = m.demand && m.demand_bytes;

		*d = (struct delivery){0};
		d->rejected =
			m.demand_rejected && find_deliverable(REJECTED, &d->partition, &d->offset);
		if (!d->rejected && !(wanted && (find_deliverable(DUE, &d->partition, &d->offset) ||
						 find_deliverable(NEW, &d->partition, &d->offset))))
			break;
		m.messages[d->partition][d->offset].place = OUT;
		d->epoch = m.epoch;
		d->attempt = m.messages[d->partition][d->offset].attempt;
		++count;
		if (d->rejected)
			--m.demand_rejected;
		else
			--m.demand;
		if (d->rejected && m.log_loses && random_below(8) == 0) {
			m.messages[d->partition][d->offset].copying = true;
			continue;
		}
		d->record = m.buf->data;
		d->size = size_of(d->partition, d->offset);
		d->buf = m.buf;
		if (!d->rejected)
			m.demand_bytes -= MIN(m.demand_bytes, d->size);
	}
	if (count)
		dispatch_arrived(m.dispatch, batch, count, m.now_ns);
}

static void confirm_copies(unsigned chance)
{
	for (unsigned p = 0; p < PARTITIONS; ++p)
		for (uint64_t i = 0; i < m.written[p]; ++i)
			if (m.messages[p][i].copying && random_below(chance) == 0)
				dispatch_dead_letter_copied(m.dispatch, m.epoch, p, i, m.now_ns);
}

// The source was closed and opened again: everything open comes again under a new epoch.
static void source_reopen(void)
{
	dispatch_reset(m.dispatch);
	++m.epoch;
	m.demand = m.demand_rejected = 0;
	for (unsigned p = 0; p < PARTITIONS; ++p) {
		for (uint64_t i = 0; i < m.written[p]; ++i) {
			struct message *message = &m.messages[p][i];

			message->suspect = false;
			if (message->place == HELD)
				release(message);
			else if (message->place != OUT && message->place != REJECTED)
				continue;
			message->attempt += message->place != REJECTED;
			message->place = DUE;
			message->due_ns = m.now_ns;
			message->copying = false;
		}
	}
	dispatch_tick(m.dispatch, m.now_ns);
}

// ---- what the consumers do

static void consumer_join(struct consumer *consumer)
{
	*consumer = (struct consumer){0};
	if (dispatch_join(m.dispatch, &consumer->consumer, false, m.now_ns) == 0)
		consumer->joined = true;
}

static void consumer_leave(struct consumer *consumer)
{
	for (unsigned p = 0; p < PARTITIONS; ++p)
		for (uint64_t i = 0; i < m.written[p]; ++i)
			if (m.messages[p][i].place == HELD &&
			    &m.consumers[m.messages[p][i].holder] == consumer)
				m.messages[p][i].left = true;
	dispatch_leave(m.dispatch, &consumer->consumer, DISPATCH_LOST, m.now_ns);
	SAY(consumer->held == 0);
	consumer->joined = false;
}

static void consumer_credit(struct consumer *consumer, bool drain)
{
	consumer->messages += random_below(30);
	consumer->bytes += random_below(30 * RECORD);
	consumer->drain += drain;
	dispatch_credit(m.dispatch, &consumer->consumer, consumer->messages, consumer->bytes,
			consumer->drain, m.now_ns);
}

// A receipt that is not the consumer's any more, or never was.
static void spoil(struct settle *settle, struct message *message)
{
	switch (random_below(3)) {
	case 0: ++settle->attempt; break;
	case 1: --settle->epoch; break;
	default: settle->offset = MESSAGES + random_below(3);
	}
}

// What others hold is not its to settle.
static void consumer_steal(struct consumer *consumer)
{
	for (unsigned p = 0; p < PARTITIONS; ++p) {
		for (uint64_t i = 0; i < m.written[p]; ++i) {
			struct message *message = &m.messages[p][i];
			struct settle settle = {.partition = p,
						.epoch = m.epoch,
						.offset = i,
						.count = 1,
						.attempt = message->attempt,
						.verb = SETTLE_ACK};

			if (message->place != HELD || &m.consumers[message->holder] == consumer)
				continue;
			SAY(dispatch_settle(m.dispatch, &consumer->consumer, &settle, 1, NULL,
					    m.now_ns) == 0);
			SAY(settle.code == CODE_STALE && settle.settled == 0);
			return;
		}
	}
}

// Settles up to `most` runs of what it holds, some of them wrongly.
static void consumer_settle(struct consumer *consumer, size_t most, bool only_ack)
{
	struct settle settles[40];
	bool wrong[40];
	uint32_t expect[40];
	size_t count = 0, rejected = 0;
	static int request;

	for (unsigned p = 0; p < PARTITIONS; ++p) {
		for (uint64_t i = 0; i < m.written[p] && count < MIN(most, 40u); ++i) {
			struct message *message = &m.messages[p][i];
			struct settle *settle = &settles[count];

			if (message->place != HELD || &m.consumers[message->holder] != consumer ||
			    random_below(4) == 0)
				continue;
			*settle = (struct settle){.partition = p,
						  .epoch = m.epoch,
						  .offset = i,
						  .count = 1,
						  .attempt = message->attempt,
						  .verb = SETTLE_ACK};
			if (!only_ack)
				settle->verb = (uint8_t)random_below(5);
			settle->delay_ms = (uint32_t)random_below(300);
			wrong[count] = !only_ack && random_below(10) == 0;
			if (wrong[count])
				spoil(settle, message);
			while (!wrong[count] && i + 1 < m.written[p] && message[1].place == HELD &&
			       message[1].holder == message->holder &&
			       message[1].attempt == message->attempt && random_below(3)) {
				++settle->count;
				++i;
				++message;
			}
			expect[count] = wrong[count] ? 0 : settle->count;
			if (settle->verb == SETTLE_REJECT && !m.dead_letter)
				expect[count] = 0;
			for (uint32_t k = 0; k < expect[count]; ++k) {
				struct message *one = &m.messages[p][settle->offset + k];

				if (settle->verb == SETTLE_EXTEND)
					one->deadline_ns = m.now_ns + settle->delay_ms * MS_NS;
				else
					one->settled = true;
				one->rejected = settle->verb == SETTLE_REJECT;
			}
			if (settle->verb == SETTLE_REJECT)
				rejected += expect[count];
			++count;
		}
	}
	if (!count)
		return;
	SAY(dispatch_settle(m.dispatch, &consumer->consumer, settles, count, &request, m.now_ns) ==
	    rejected);
	m.held += rejected;
	for (size_t i = 0; i < count; ++i) {
		SAY(settles[i].settled == expect[i]);
		SAY((settles[i].code == CODE_OK) == (expect[i] == settles[i].count));
	}
}

// ---- one schedule

static void tick_if_due(void)
{
	if (dispatch_next_ns(m.dispatch) <= m.now_ns)
		dispatch_tick(m.dispatch, m.now_ns);
	// No deadline may be later than a hundredth of the timeout (10 ms at least) and the tick.
	for (unsigned p = 0; p < PARTITIONS; ++p)
		for (uint64_t i = 0; i < m.written[p]; ++i)
			SAY(m.messages[p][i].place != HELD ||
			    m.messages[p][i].deadline_ns + 11 * MS_NS > m.now_ns);
}

static void step(void)
{
	struct consumer *consumer = &m.consumers[random_below(CONSUMERS)];
	unsigned p = (unsigned)random_below(PARTITIONS);

	switch (random_below(16)) {
	case 0:
	case 1:
		for (uint64_t n = random_below(20); n && m.written[p] < MESSAGES; --n)
			m.messages[p][m.written[p]++] =
				(struct message){.place = NEW, .attempt = 1};
		break;
	case 2:
		if (!consumer->joined)
			consumer_join(consumer);
		else if (random_below(6) == 0)
			consumer_leave(consumer);
		break;
	case 3:
	case 4:
	case 5:
		if (consumer->joined)
			consumer_credit(consumer, random_below(10) == 0);
		break;
	case 6:
	case 7:
	case 8:
	case 9:
		if (consumer->joined)
			consumer_settle(consumer, random_below(41), false);
		break;
	case 14:
		if (consumer->joined)
			consumer_steal(consumer);
		break;
	case 10: m.now_ns += random_below(200) * MS_NS; break;
	case 15:
		if (random_below(4) == 0)
			dispatch_give_pending_back(m.dispatch,
						   m.now_ns + random_below(300) * MS_NS);
		else
			source_pump(random_below(40));
		break;
	case 11: confirm_copies(2); break;
	case 12:
		m.quota = random_below(50);
		m.limited = random_below(3) != 0;
		break;
	case 13:
		if (random_below(20) == 0)
			source_reopen();
		break;
	default: source_pump(random_below(40));
	}
	tick_if_due();
}

static bool all_done(void)
{
	for (unsigned p = 0; p < PARTITIONS; ++p)
		for (uint64_t i = 0; i < m.written[p]; ++i)
			if (m.messages[p][i].place != DONE)
				return false;
	return true;
}

// Willing consumers and a willing source: everything must come to its end.
static void finish(void)
{
	m.limited = false;
	for (unsigned round = 0; round < 3000 && !all_done(); ++round) {
		struct consumer *consumer = &m.consumers[round % CONSUMERS];

		if (!consumer->joined)
			consumer_join(consumer);
		if (consumer->joined) {
			consumer_credit(consumer, false);
			consumer_settle(consumer, 40, true);
		}
		m.now_ns += 20 * MS_NS;
		tick_if_due();
		confirm_copies(1);
		source_pump(32);
	}
	SAY(all_done());
	SAY(dispatch_in_flight(m.dispatch) == 0);
}

static void run_schedule(uint64_t seed)
{
	static const uint8_t modes[] = {GROUP_SHARED, GROUP_SHARED, GROUP_EXCLUSIVE,
					GROUP_FAILOVER};
	struct dispatch_policy policy = {.visibility_ns = S_NS,
					 .retry_delay_ms = 10,
					 .retry_delay_max_ms = 100,
					 .in_flight_max = IN_FLIGHT_MAX};

	memset(&m, 0, sizeof m);
	seed_shown = seed;
	rng = seed * 0x9E3779B97F4A7C15ull + 1;
	m.now_ns = S_NS + random_below(S_NS);
	m.epoch = 7;
	m.dead_letter = random_below(4) != 0;
	m.log_loses = random_below(2);
	m.max_attempts = (uint32_t)(1 + random_below(4));
	policy.dead_letter = m.dead_letter;
	policy.max_attempts = m.max_attempts;
	policy.mode = modes[random_below(ARRAY_SIZE(modes))];
	CHECK_EQ(buf_new(16, &m.buf), 0);
	SAY(dispatch_new(&policy, &ops, NULL, &m.dispatch) == 0);
	for (unsigned i = 0; i < 1500; ++i)
		step();
	finish();
	for (unsigned i = 0; i < CONSUMERS; ++i)
		if (m.consumers[i].joined)
			consumer_leave(&m.consumers[i]);
	dispatch_free(m.dispatch);
	SAY(m.held == m.unheld);
	SAY(m.buf->refs == 1);
	buf_unref(m.buf);
}

static void random_schedules(void)
{
	for (uint64_t seed = 1; seed <= 400; ++seed)
		run_schedule(seed);
}

// ---- one promise each

static void start(uint32_t max_attempts)
{
	struct dispatch_policy policy = {.visibility_ns = S_NS,
					 .in_flight_max = IN_FLIGHT_MAX,
					 .max_attempts = max_attempts,
					 .dead_letter = max_attempts > 0};

	memset(&m, 0, sizeof m);
	m.now_ns = S_NS;
	m.max_attempts = max_attempts;
	m.dead_letter = max_attempts > 0;
	CHECK_EQ(buf_new(16, &m.buf), 0);
	CHECK_EQ(dispatch_new(&policy, &ops, NULL, &m.dispatch), 0);
	consumer_join(&m.consumers[0]);
}

static void stop(void)
{
	consumer_leave(&m.consumers[0]);
	dispatch_free(m.dispatch);
	buf_unref(m.buf);
}

static void publish(size_t count)
{
	for (; count; --count)
		m.messages[0][m.written[0]++] = (struct message){.place = NEW, .attempt = 1};
}

static void credit(uint64_t messages, uint64_t bytes)
{
	m.consumers[0].messages += messages;
	m.consumers[0].bytes += bytes;
	dispatch_credit(m.dispatch, &m.consumers[0].consumer, m.consumers[0].messages,
			m.consumers[0].bytes, m.consumers[0].drain, m.now_ns);
}

static void settle_one(uint64_t offset, enum settle_verb verb)
{
	struct settle settle = {
		.epoch = m.epoch, .count = 1, .offset = offset, .verb = (uint8_t)verb};

	settle.attempt = m.messages[0][offset].attempt;
	settle.delay_ms = 0xFFFFFFFF;
	m.messages[0][offset].settled = true;
	m.messages[0][offset].rejected = verb == SETTLE_REJECT;
	dispatch_settle(m.dispatch, &m.consumers[0].consumer, &settle, 1, NULL, m.now_ns);
	CHECK_EQ(settle.settled, 1);
}

// A dead letter is fetched although no consumer has credit, and no consumer gets it.
static void reject_needs_no_credit(void)
{
	start(3);
	publish(1);
	credit(1, 1000);
	source_pump(9);
	CHECK_EQ(m.consumers[0].held, 1);
	settle_one(0, SETTLE_REJECT);
	CHECK_EQ(m.demand, 0);
	CHECK_EQ(m.demand_rejected, 1);
	publish(5); // nothing new comes in its place
	source_pump(9);
	CHECK(m.messages[0][0].copying);
	CHECK_EQ(m.demand_rejected, 0);
	dispatch_dead_letter_copied(m.dispatch, m.epoch, 0, 0, m.now_ns);
	CHECK(m.messages[0][0].dead);
	CHECK_EQ(dispatch_counters(m.dispatch)->dead, 1);
	stop();
}

// A source that counts its offsets anew hands out another message under the same one. The copy of
// the first is confirmed when that of the second is on its way: it ends neither.
static void a_copy_of_an_earlier_epoch_ends_nothing(void)
{
	start(3);
	publish(1);
	credit(1, 1000);
	source_pump(9);
	settle_one(0, SETTLE_REJECT);
	source_pump(9);
	CHECK(m.messages[0][0].copying);
	source_reopen();
	m.messages[0][0] = (struct message){.place = REJECTED, .attempt = 4};
	credit(1, 1000);
	m.demand_rejected = 1;
	source_pump(9);
	CHECK(m.messages[0][0].copying);
	dispatch_dead_letter_copied(m.dispatch, m.epoch - 1, 0, 0, m.now_ns);
	CHECK(!m.messages[0][0].dead);
	CHECK_EQ(dispatch_counters(m.dispatch)->dead, 0);
	dispatch_dead_letter_copied(m.dispatch, m.epoch, 0, 0, m.now_ns);
	CHECK(m.messages[0][0].dead);
	stop();
}

// What a consumer holds, what waits here and what is to be copied are void; the demand that has not
// been met stands, and what is free now is demanded on top. Nothing counts, and no mark stays.
static void what_the_source_has_lost_is_void(void)
{
	struct settle settle = {.count = 1};
	const struct dispatch_counters *counters;

	start(3);
	publish(6);
	credit(9, 2000);
	source_pump(4);
	CHECK_EQ(m.consumers[0].held, 4);
	settle_one(0, SETTLE_REJECT);
	consumer_leave(&m.consumers[0]); // 1 to 3 are suspects now
	consumer_join(&m.consumers[0]);
	credit(9, 2000);
	dispatch_source_lost(m.dispatch, m.now_ns);
	CHECK_EQ(dispatch_suspects(m.dispatch), 0);
	CHECK_EQ(m.demand, 9);
	CHECK_EQ(m.demand_rejected, 0);
	counters = dispatch_counters(m.dispatch);
	CHECK_EQ(counters->lost, 3); // what the consumer had lost

	++m.epoch;
	for (uint64_t i = 0; i < 6; ++i)
		m.messages[0][i] = (struct message){.place = NEW, .attempt = 1};
	source_pump(4);
	CHECK_EQ(m.consumers[0].held, 4); // together: there are no marks
	m.limited = true;                 // the next two wait here
	source_pump(2);
	CHECK(dispatch_pending_bytes(m.dispatch) > 0);
	dispatch_source_lost(m.dispatch, m.now_ns);
	CHECK_EQ(dispatch_pending_bytes(m.dispatch), 0);
	CHECK_EQ(dispatch_in_flight(m.dispatch), 0);
	CHECK_EQ(dispatch_suspects(m.dispatch), 0);
	CHECK_EQ(counters->lost, 3);
	CHECK_EQ(counters->released, 0);
	CHECK_EQ(counters->timeouts, 0);

	settle.epoch = m.epoch;
	settle.offset = 1;
	settle.attempt = 1;
	dispatch_settle(m.dispatch, &m.consumers[0].consumer, &settle, 1, NULL, m.now_ns);
	CHECK_EQ(settle.code, CODE_STALE);
	CHECK_EQ(settle.settled, 0);

	m.limited = false;
	m.consumers[0].held = 0;
	m.now_ns += 20 * MS_NS;
	dispatch_tick(m.dispatch, m.now_ns);
	CHECK_EQ(dispatch_next_ns(m.dispatch), UINT64_MAX); // no deadline of what is void is left
	CHECK_EQ(counters->timeouts, 0);
	CHECK_EQ(m.demand, 5); // the credit that was not given, and nothing that was
	m.messages[0][0] = (struct message){.place = NEW, .attempt = 1};
	++m.epoch;
	source_pump(1);
	CHECK_EQ(m.consumers[0].held, 1);
	settle_one(0, SETTLE_ACK);
	CHECK(m.messages[0][0].acked);
	stop();
}

// A settle that waits for its dead-letter copy is told that its message is lost.
static void a_lost_rejection_is_told(void)
{
	struct settle settle = {.count = 1, .attempt = 1, .verb = SETTLE_REJECT};
	int request;

	start(3);
	publish(1);
	credit(1, 1000);
	source_pump(1);
	m.messages[0][0].settled = m.messages[0][0].rejected = true;
	CHECK_EQ(dispatch_settle(m.dispatch, &m.consumers[0].consumer, &settle, 1, &request,
				 m.now_ns),
		 1);
	CHECK_EQ(m.unheld, 0);
	dispatch_source_lost(m.dispatch, m.now_ns);
	CHECK_EQ(m.unheld, 1);
	stop();
}

// The marks of what the log has deleted go with it: what comes under these offsets is no suspect.
static void marks_of_deleted_messages_go(void)
{
	start(3);
	publish(4);
	credit(4, 1000);
	source_pump(9);
	CHECK_EQ(m.consumers[0].held, 4);
	consumer_leave(&m.consumers[0]);
	dispatch_gone(m.dispatch, 0, 2);
	dispatch_gone(m.dispatch, 1, 9); // of another partition
	for (uint64_t i = 0; i < 4; ++i) {
		CHECK(m.messages[0][i].suspect);
		m.messages[0][i].suspect = i >= 2; // on_deliver() looks at that
	}
	consumer_join(&m.consumers[0]);
	for (uint64_t i = 0; i < 4; ++i) { // a suspect comes alone
		credit(1, 1000);
		source_pump(9);
		CHECK_EQ(m.consumers[0].held, 1);
		settle_one(i, SETTLE_ACK);
	}
	stop();
}

// What is larger than the rest of the bytes waits until the consumer holds nothing, then goes.
static void large_message_waits_for_empty_hands(void)
{
	start(0);
	publish(3); // 40, 53 and 66 bytes
	credit(10, 100);
	source_pump(9);
	CHECK_EQ(m.consumers[0].held, 2);
	credit(0, 10);
	source_pump(9);
	CHECK_EQ(m.consumers[0].held, 2);
	settle_one(0, SETTLE_ACK);
	source_pump(9);
	CHECK_EQ(m.consumers[0].held, 1);
	settle_one(1, SETTLE_ACK);
	source_pump(9);
	CHECK_EQ(m.consumers[0].held, 1);
	CHECK_EQ(m.messages[0][2].place, HELD);
	stop();
}

static void retry_delay_doubles(void)
{
	struct dispatch_policy policy = {.visibility_ns = 60 * S_NS,
					 .in_flight_max = IN_FLIGHT_MAX,
					 .retry_delay_ms = 100,
					 .retry_delay_max_ms = 500};
	static const uint32_t delays_ms[] = {100, 200, 400, 500, 500};

	start(0);
	dispatch_set_policy(m.dispatch, &policy);
	publish(1);
	credit(100, 100000);
	for (size_t i = 0; i < ARRAY_SIZE(delays_ms); ++i) {
		source_pump(9);
		CHECK_EQ(m.messages[0][0].attempt, i + 1);
		settle_one(0, SETTLE_NACK);
		CHECK_EQ(m.messages[0][0].due_ns - m.now_ns, delays_ms[i] * MS_NS);
		m.now_ns = m.messages[0][0].due_ns;
	}
	stop();
}

// A frame may name a hundred thousand runs of four billion offsets: it must cost nothing.
static void hostile_counts_end_soon(void)
{
	enum { ENTRIES = 100000 };
	struct settle *settles = calloc(ENTRIES, sizeof *settles);

	CHECK(settles);
	start(0);
	publish(1);
	credit(1, 1000);
	source_pump(9);
	for (size_t i = 0; i < ENTRIES; ++i)
		settles[i] = (struct settle){.offset = 5, .count = UINT32_MAX, .attempt = 1};
	CHECK_EQ(dispatch_settle(m.dispatch, &m.consumers[0].consumer, settles, ENTRIES, NULL,
				 m.now_ns),
		 0);
	CHECK_EQ(settles[ENTRIES - 1].code, CODE_STALE);
	CHECK_EQ(m.consumers[0].held, 1);
	stop();
	free(settles);
}

static void shares_are_equal(void)
{
	start(0);
	for (unsigned i = 1; i < CONSUMERS; ++i)
		consumer_join(&m.consumers[i]);
	publish(50);
	for (unsigned i = 0; i < CONSUMERS; ++i) {
		m.consumers[i].messages = 40;
		m.consumers[i].bytes = 100000;
	}
	dispatch_pause(m.dispatch, true, m.now_ns);
	for (unsigned i = 0; i < CONSUMERS; ++i)
		dispatch_credit(m.dispatch, &m.consumers[i].consumer, 40, 100000, 0, m.now_ns);
	CHECK_EQ(m.demand, 0);
	dispatch_pause(m.dispatch, false, m.now_ns);
	source_pump(30);
	source_pump(20);
	for (unsigned i = 0; i < CONSUMERS; ++i)
		CHECK_EQ(m.consumers[i].held, 10);
	for (unsigned i = 1; i < CONSUMERS; ++i)
		consumer_leave(&m.consumers[i]);
	stop();
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {UNIT_CASE(flight_map_equals_model),
						 UNIT_CASE(reject_needs_no_credit),
						 UNIT_CASE(a_copy_of_an_earlier_epoch_ends_nothing),
						 UNIT_CASE(what_the_source_has_lost_is_void),
						 UNIT_CASE(a_lost_rejection_is_told),
						 UNIT_CASE(marks_of_deleted_messages_go),
						 UNIT_CASE(large_message_waits_for_empty_hands),
						 UNIT_CASE(retry_delay_doubles),
						 UNIT_CASE(hostile_counts_end_soon),
						 UNIT_CASE(shares_are_equal),
						 UNIT_CASE(random_schedules)};

	if (argc > 1) {
		run_schedule(strtoull(argv[1], NULL, 10));
		return 0;
	}
	return unit_main(cases, ARRAY_SIZE(cases));
}
