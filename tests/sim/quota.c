// The rate limits and counts of a tenant: batches of random sizes, giving back, rates that change,
// gaps of any length.
//
// The model is the same rule with four more bits of time: what is owed after each charge, exactly.
// Every charge of the engine may be off by one tick of 1/64 ns, so what it admits must lie between
// what the model admits with that much more and that much less room. Beside that, independent of
// how it is computed: since any beginning, never more than the rate for that time and one burst.

#include "quota/quota.h"

#include "tests/sim/sim.h"

enum { BATCH = 40, CHARGES = 8 };

__extension__ typedef unsigned __int128 wide;

#define FINE   (64ull * 16) // ticks of the model in a nanosecond
#define FINE_S ((wide)FINE * S_NS)
#define PER_OP (2 * 16ull) // what one charge or one giving back may be off, in these ticks

struct bucket {
	uint64_t rate;
	wide full_at;   // when nothing is owed any more
	uint64_t slack; // by how much the engine may differ
	// Since the rate was set.
	uint64_t since_ns, admitted, largest;
};

static struct {
	struct quota_ledger ledger;
	struct bucket messages[QUOTA_DIRECTIONS], bytes[QUOTA_DIRECTIONS];
	uint64_t now_ns;
	struct quota_charge charges[CHARGES];
	size_t open;
	uint64_t used[QUOTA_COUNTS], limit[QUOTA_COUNTS];
} m;

// ---- the model of one limit

static wide cost_of(const struct bucket *bucket, uint64_t units)
{
	return (wide)units * FINE_S / bucket->rate;
}

static wide burst_of(const struct bucket *bucket)
{
	return MAX(FINE_S / 5, cost_of(bucket, 1));
}

static wide now_fine(void)
{
	return (wide)m.now_ns * FINE;
}

static wide owed(const struct bucket *bucket)
{
	return bucket->full_at > now_fine() ? bucket->full_at - now_fine() : 0;
}

// What the engine may owe at most.
static wide owed_at_most(const struct bucket *bucket)
{
	wide full_at = bucket->full_at + bucket->slack;

	return full_at > now_fine() ? full_at - now_fine() : 0;
}

// What is owed is as many units at a higher rate, the same time at a lower one.
static void bucket_set(struct bucket *bucket, uint64_t rate)
{
	wide debt = owed(bucket);

	if (rate != bucket->rate && debt && (bucket->rate == 0 || rate == GCRA_UNLIMITED))
		bucket->full_at = now_fine();
	else if (rate > bucket->rate && debt)
		bucket->full_at = now_fine() + debt * bucket->rate / rate;
	bucket->slack += PER_OP;
	bucket->rate = rate;
	bucket->since_ns = m.now_ns;
	bucket->admitted = 0;
	bucket->largest = 0;
}

// Units that fit when the engine owes less (`more`) or more than the model knows.
static uint64_t bucket_room(const struct bucket *bucket, bool more)
{
	wide debt = owed(bucket), burst, room;

	if (bucket->rate == GCRA_UNLIMITED || bucket->rate == 0)
		return bucket->rate;
	debt = more ? debt - MIN(debt, (wide)bucket->slack) : owed_at_most(bucket);
	burst = burst_of(bucket);
	room = burst > debt ? burst - debt : 0;
	// The engine computes a unit's cost rounded up.
	if (!more)
		room -= MIN(room, (wide)PER_OP);
	else
		room += PER_OP;
	room = room * bucket->rate / FINE_S;
	return room > UINT64_MAX ? UINT64_MAX : (uint64_t)room;
}

// Never more than the rate allows for the time since it was set, the burst, and a single thing
// larger than it.
static void bucket_check(const struct bucket *bucket)
{
	wide allowed;

	if (bucket->rate == GCRA_UNLIMITED)
		return;
	allowed = (wide)bucket->rate * (m.now_ns - bucket->since_ns) / S_NS +
		  MAX(bucket->rate / 5, 1) + bucket->largest + 2;
	SIM_MUST(bucket->admitted <= allowed);
}

static void bucket_take(struct bucket *bucket, uint64_t units)
{
	if (bucket->rate == GCRA_UNLIMITED || units == 0)
		return;
	SIM_MUST(bucket->rate > 0);
	if (owed(bucket) == 0) {
		bucket->slack = (uint64_t)owed_at_most(bucket);
		bucket->full_at = now_fine();
	}
	bucket->full_at += cost_of(bucket, units);
	bucket->slack += PER_OP;
	bucket->admitted += units;
	bucket_check(bucket);
}

static void bucket_give_back(struct bucket *bucket, uint64_t units)
{
	wide cost;

	if (bucket->rate == GCRA_UNLIMITED || bucket->rate == 0 || units == 0)
		return;
	cost = cost_of(bucket, units);
	bucket->full_at -= MIN(bucket->full_at, cost);
	bucket->slack += PER_OP;
	bucket->admitted -= MIN(bucket->admitted, units);
}

// ---- charges

static size_t fitting(const uint32_t *sizes, size_t count, uint64_t room)
{
	uint64_t bytes = 0;
	size_t fit = 0;

	while (fit < count && bytes + sizes[fit] <= room)
		bytes += sizes[fit++];
	return fit;
}

// How many of the batch must pass, at least or at most.
static size_t expected(enum quota_direction direction, const uint32_t *sizes, size_t count,
		       bool most)
{
	const struct bucket *bytes = &m.bytes[direction];
	size_t fit = (size_t)MIN(count, bucket_room(&m.messages[direction], most)), passed;
	bool owes = most ? owed(bytes) > bytes->slack : owed_at_most(bytes) > 0;

	passed = fitting(sizes, fit, bucket_room(bytes, most));
	// One thing larger than the burst passes when nothing is owed.
	if (passed == 0 && fit && bytes->rate && !owes &&
	    (most || cost_of(bytes, sizes[0]) > burst_of(bytes)))
		passed = 1;
	return passed;
}

static void step_charge(void)
{
	enum quota_direction direction = (enum quota_direction)sim_below(QUOTA_DIRECTIONS);
	struct bucket *messages = &m.messages[direction], *bytes = &m.bytes[direction];
	uint32_t sizes[BATCH] = {0}, scale = sim_one_in(4) ? 20000 : 300;
	size_t count = 1 + sim_below(BATCH), passed, least, most;
	struct quota_charge charge;
	uint64_t total = 0, part = 0;

	for (size_t i = 0; i < count; ++i)
		total += sizes[i] = 40 + (uint32_t)sim_below(scale);
	if (m.open == CHARGES)
		return;
	least = expected(direction, sizes, count, false);
	most = expected(direction, sizes, count, true);
	passed = quota_charge_batch(&m.ledger, direction, sizes, sizeof sizes[0], count, total,
				    m.now_ns, &charge);
	for (size_t i = 0; i < passed; ++i)
		part += sizes[i];
	sim_trace("charge %zu of %llu bytes, direction %u: %zu pass (%zu to %zu)", count,
		  (unsigned long long)total, direction, passed, least, most);
	SIM_MUST(passed >= least && passed <= most);
	SIM_EQUAL(charge.messages, passed);
	SIM_EQUAL(charge.bytes, part);
	if (passed < count)
		messages->slack += PER_OP; // taken and given back
	bytes->largest = MAX(bytes->largest, passed ? sizes[0] : 0);
	bucket_take(messages, passed);
	bucket_take(bytes, part);
	if (passed)
		m.charges[m.open++] = charge;
	SIM_EQUAL(m.ledger.open_charges, m.open);
}

// Part of a charge has failed; the rest has been used.
static void step_close(void)
{
	struct quota_charge *charge = m.open ? &m.charges[sim_below(m.open)] : NULL;
	uint64_t messages, bytes;

	if (!charge)
		return;
	messages = sim_one_in(2) ? sim_below(charge->messages + 1) : 0;
	bytes = messages ? sim_below(charge->bytes + 1) : 0;
	sim_trace("%llu messages and %llu bytes are given back", (unsigned long long)messages,
		  (unsigned long long)bytes);
	bucket_give_back(&m.messages[charge->direction], messages);
	bucket_give_back(&m.bytes[charge->direction], bytes);
	quota_charge_give_back(charge, messages, bytes);
	quota_charge_close(charge);
	*charge = m.charges[--m.open];
	SIM_EQUAL(m.ledger.open_charges, m.open);
}

// When it says that one message will pass, one passes then, and none a moment before.
static void step_wait(void)
{
	enum quota_direction direction = (enum quota_direction)sim_below(QUOTA_DIRECTIONS);
	const struct bucket *messages = &m.messages[direction], *bytes = &m.bytes[direction];
	uint32_t size = 40 + (uint32_t)sim_below(300);
	struct quota_answer answer;
	struct quota_charge charge;

	quota_explain(&m.ledger, direction, size, m.now_ns, &answer);
	sim_trace("wait for one of %u bytes, direction %u: %llu ns", size, direction,
		  (unsigned long long)answer.wait_ns);
	SIM_EQUAL(answer.wait_ns == UINT64_MAX, messages->rate == 0 || bytes->rate == 0);
	if (answer.wait_ns == UINT64_MAX || m.open == CHARGES)
		return;
	if (answer.wait_ns) {
		m.now_ns += answer.wait_ns - 1;
		SIM_EQUAL(expected(direction, &size, 1, false), 0);
		m.now_ns += 1;
	}
	SIM_EQUAL(quota_charge_batch(&m.ledger, direction, &size, sizeof size, 1, size, m.now_ns,
				     &charge),
		  1);
	quota_charge_close(&charge);
	m.bytes[direction].largest = MAX(bytes->largest, size);
	bucket_take(&m.messages[direction], 1);
	bucket_take(&m.bytes[direction], size);
}

// ---- counts

static void step_count(void)
{
	enum quota_count count = (enum quota_count)sim_below(QUOTA_COUNTS);
	uint64_t amount = sim_one_in(20) ? UINT64_MAX - sim_below(3) : sim_below(60);
	bool fits = amount <= m.limit[count] && m.used[count] <= m.limit[count] - amount;

	if (sim_one_in(2)) {
		sim_trace("count %u: take %llu", count, (unsigned long long)amount);
		SIM_EQUAL(quota_count_take(&m.ledger, count, amount), fits);
		m.used[count] += fits ? amount : 0;
	} else {
		amount = MIN(amount, m.used[count]);
		quota_count_give_back(&m.ledger, count, amount);
		m.used[count] -= amount;
	}
	SIM_EQUAL(quota_count_used(&m.ledger, count), m.used[count]);
}

// ---- the schedule

static uint64_t random_rate(void)
{
	static const uint64_t scales[] = {20, 2000, 300000, 2000000, 1000000000, 1ull << 40};

	if (sim_one_in(12))
		return sim_one_in(2) ? 0 : GCRA_UNLIMITED;
	return 1 + sim_below(scales[sim_below(ARRAY_SIZE(scales))]);
}

static struct tenant_limits random_limits(void)
{
	return (struct tenant_limits){.produce_tps = random_rate(),
				      .produce_bps = random_rate(),
				      .consume_tps = random_rate(),
				      .consume_bps = random_rate(),
				      .connections = (uint32_t)sim_below(100)};
}

static void limits_set(const struct tenant_limits *limits)
{
	bucket_set(&m.messages[QUOTA_PRODUCE], limits->produce_tps);
	bucket_set(&m.bytes[QUOTA_PRODUCE], limits->produce_bps);
	bucket_set(&m.messages[QUOTA_CONSUME], limits->consume_tps);
	bucket_set(&m.bytes[QUOTA_CONSUME], limits->consume_bps);
	m.limit[QUOTA_CONNECTIONS] = limits->connections;
}

// The bound begins anew with what fits now.
static void step_limits(void)
{
	struct tenant_limits limits = random_limits();

	sim_trace("limits: produce %llu/s and %llu B/s, consume %llu/s and %llu B/s",
		  (unsigned long long)limits.produce_tps, (unsigned long long)limits.produce_bps,
		  (unsigned long long)limits.consume_tps, (unsigned long long)limits.consume_bps);
	quota_ledger_set(&m.ledger, &limits, m.now_ns);
	limits_set(&limits);
}

static void start(void)
{
	struct tenant_limits limits = random_limits();

	memset(&m, 0, sizeof m);
	m.now_ns = sim_below(8 * 365 * 86400ull) * S_NS;
	m.limit[QUOTA_MEMORY] = 500;
	limits_set(&limits);
	quota_ledger_init(&m.ledger, &limits, m.limit[QUOTA_MEMORY]);
}

static void step(void)
{
	static const uint64_t gaps_ns[] = {1, 1000, MS_NS, 50 * MS_NS, S_NS, 100 * S_NS};

	m.now_ns += sim_below(gaps_ns[sim_below(ARRAY_SIZE(gaps_ns))]);
	switch (sim_below(10)) {
	case 0: step_count(); break;
	case 1: step_wait(); break;
	case 2:
	case 3: step_close(); break;
	case 4:
		if (sim_one_in(6))
			step_limits();
		break;
	default: step_charge();
	}
}

static void finish(void)
{
	while (m.open)
		quota_charge_close(&m.charges[--m.open]);
	for (unsigned i = 0; i < QUOTA_COUNTS; ++i)
		quota_count_give_back(&m.ledger, (enum quota_count)i, m.used[i]);
	quota_ledger_deinit(&m.ledger); // asserts that every balance is zero
}

const struct sim_engine sim_quota = {"quota", 150, start, step, finish};
