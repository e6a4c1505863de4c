// quota: admitted against allowed in virtual time, at small and large rates; batches, bytes, giving
// back, changing limits.

#include "quota/quota.h"
#include "tests/unit/unit.h"

#include <pthread.h>

static const uint64_t clocks[] = {0, 5 * S_NS, 200ull * 86400 * S_NS, 8ull * 365 * 86400 * S_NS};

// What passes in 10 s when `times` the rate is offered in batches.
static double admitted(uint64_t rate, double times, uint64_t batch, uint64_t start_ns)
{
	uint64_t offered = 0, passed = 0, seconds = 10,
		 total = (uint64_t)((double)rate * times * (double)seconds);
	struct gcra gcra;

	batch = MIN(batch, MAX(1, total / 100));
	gcra_init(&gcra, rate);
	gcra_take(&gcra, UINT64_MAX / 2, start_ns); // the burst is spent before the measurement
	while (offered < total) {
		uint64_t now = start_ns + (uint64_t)((double)offered / (double)total *
						     (double)(seconds * S_NS));

		passed += gcra_take(&gcra, batch, now);
		offered += batch;
	}
	return (double)passed / ((double)rate * (double)seconds);
}

static void rates_are_exact(void)
{
	static const uint64_t rates[] = {10, 33, 1000, 7777, 1000000};

	for (size_t c = 0; c < ARRAY_SIZE(clocks); ++c) {
		for (size_t i = 0; i < ARRAY_SIZE(rates); ++i) {
			for (unsigned times = 2; times <= (rates[i] > 10000 ? 2 : 100);
			     times *= 7) {
				double one = admitted(rates[i], times, 1, clocks[c]),
				       many = admitted(rates[i], times, 256, clocks[c]);
				double slack = MAX(0.01, 2.0 / (double)(rates[i] * 10));

				if (one < 1 - slack || one > 1 + slack || many < 1 - slack ||
				    many > 1 + slack)
					fprintf(stderr, "rate %llu x %u: %f %f\n",
						(unsigned long long)rates[i], times, one, many);
				CHECK(one >= 1 - slack && one <= 1 + slack);
				CHECK(many >= 1 - slack && many <= 1 + slack);
			}
		}
	}
}

static void large_rates_do_not_overflow(void)
{
	static const uint64_t rates[] = {100000000, 40000000000ull, 1ull << 60, UINT64_MAX - 1};

	for (size_t i = 0; i < ARRAY_SIZE(rates); ++i) {
		struct gcra gcra;

		gcra_init(&gcra, rates[i]);
		CHECK(gcra_take_all(&gcra, 1 << 20, false, clocks[3]));
		CHECK(gcra_remaining(&gcra, clocks[3]) <= rates[i] / 5 + 1);
		CHECK_EQ(gcra_wait_ns(&gcra, 1, clocks[3] + S_NS), 0);
	}
}

static void burst_is_a_fifth(void)
{
	struct gcra gcra;

	gcra_init(&gcra, 1000);
	CHECK_EQ(gcra_take(&gcra, 100000, S_NS), 200);
	CHECK_EQ(gcra_take(&gcra, 1, S_NS), 0);
	CHECK_EQ(gcra_wait_ns(&gcra, 1, S_NS), MS_NS);
	CHECK_EQ(gcra_take(&gcra, 5, S_NS + MS_NS), 1);
	gcra_init(&gcra, 1);
	CHECK_EQ(gcra_take(&gcra, 5, S_NS), 1);
	CHECK_EQ(gcra_wait_ns(&gcra, 1, S_NS), S_NS);
	gcra_init(&gcra, 0);
	CHECK_EQ(gcra_take(&gcra, 5, S_NS), 0);
}

static void only_one_large_thing_goes_negative(void)
{
	struct gcra gcra;

	gcra_init(&gcra, 1000);
	CHECK(!gcra_take_all(&gcra, 2000, false, S_NS));
	CHECK(gcra_take_all(&gcra, 2000, true, S_NS));
	CHECK(!gcra_take_all(&gcra, 2000, true, S_NS + S_NS));
	CHECK(!gcra_take_all(&gcra, 1, true, S_NS + S_NS));
	CHECK(gcra_take_all(&gcra, 2000, true, S_NS + 2 * S_NS + MS_NS));
}

static const struct tenant_limits no_limits = {
	.produce_tps = MODEL_UNLIMITED,
	.produce_bps = MODEL_UNLIMITED,
	.consume_tps = MODEL_UNLIMITED,
	.consume_bps = MODEL_UNLIMITED,
	.connections = UINT32_MAX,
};

static void batches_pass_in_part(void)
{
	struct tenant_limits limits = no_limits;
	struct quota_ledger ledger;
	struct quota_charge charge;
	struct quota_answer answer;
	uint32_t sizes[10];

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); ++i)
		sizes[i] = 100;
	limits.produce_tps = 1000; // burst 200
	limits.produce_bps = 2500; // burst 500
	quota_ledger_init(&ledger, &limits, UINT64_MAX);
	CHECK_EQ(quota_charge_batch(&ledger, QUOTA_PRODUCE, sizes, sizeof *sizes, 10, 1000, S_NS,
				    &charge),
		 5);
	CHECK_EQ(charge.bytes, 500);
	CHECK_EQ(gcra_remaining(&ledger.messages[QUOTA_PRODUCE], S_NS), 195);
	quota_explain(&ledger, QUOTA_PRODUCE, 100, S_NS, &answer);
	CHECK(answer.bytes && answer.limit == 2500 && answer.wait_ns == 40 * MS_NS &&
	      answer.remaining == 0);
	quota_charge_give_back(&charge, 2, 200);
	quota_charge_close(&charge);
	CHECK_EQ(quota_charge_batch(&ledger, QUOTA_PRODUCE, sizes, sizeof *sizes, 10, 1000, S_NS,
				    &charge),
		 2);
	quota_charge_close(&charge);
	CHECK_EQ(quota_charge_batch(&ledger, QUOTA_PRODUCE, sizes, sizeof *sizes, 10, 1000, S_NS,
				    &charge),
		 0);
	quota_charge_close(&charge);
	CHECK_EQ(quota_charge_batch(&ledger, QUOTA_CONSUME, sizes, sizeof *sizes, 10, 1000, S_NS,
				    &charge),
		 10);
	quota_charge_close(&charge);
	quota_ledger_deinit(&ledger);
}

static void limits_change_live(void)
{
	struct tenant_limits limits = no_limits;
	struct quota_ledger ledger;

	quota_ledger_init(&ledger, &limits, 1000);
	CHECK(quota_count_take(&ledger, QUOTA_CONNECTIONS, 5));
	limits.connections = 3;
	limits.produce_tps = 10;
	quota_ledger_set(&ledger, &limits, S_NS);
	CHECK(!quota_count_take(&ledger, QUOTA_CONNECTIONS, 1));
	CHECK_EQ(gcra_take(&ledger.messages[QUOTA_PRODUCE], 100, S_NS), 2);
	quota_count_give_back(&ledger, QUOTA_CONNECTIONS, 5);
	CHECK(quota_count_take(&ledger, QUOTA_MEMORY, 1000) &&
	      !quota_count_take(&ledger, QUOTA_MEMORY, 1));
	quota_count_give_back(&ledger, QUOTA_MEMORY, 1000);
	quota_ledger_deinit(&ledger);
}

// A debt of a minute, by whatever made it, is as many messages at the new rate.
static void a_raised_limit_helps_at_once(void)
{
	struct tenant_limits limits = {.produce_tps = 10, .produce_bps = UINT64_MAX};
	const uint64_t now_ns = 100 * S_NS;
	struct quota_ledger ledger;
	struct gcra *messages = &ledger.messages[QUOTA_PRODUCE];
	uint64_t start_ns;

	quota_ledger_init(&ledger, &limits, 0);
	CHECK_EQ(gcra_reserve(messages, 602, now_ns, &start_ns), now_ns + 60 * S_NS);
	limits.produce_tps = 10000;
	quota_ledger_set(&ledger, &limits, now_ns);
	quota_ledger_set(&ledger, &limits, now_ns); // as each loop does
	CHECK_EQ(gcra_remaining(messages, now_ns), 2000 - 602);
	CHECK_EQ(gcra_reserve(messages, 10000, now_ns, &start_ns), now_ns + 8602 * MS_NS / 10);
	limits.produce_tps = 1000; // lowered: for the time that it would have taken, not ten times
	quota_ledger_set(&ledger, &limits, now_ns);
	CHECK_EQ(gcra_wait_ns(messages, 1, now_ns), 8602 * MS_NS / 10 + MS_NS);
	limits.produce_tps = UINT64_MAX;
	quota_ledger_set(&ledger, &limits, now_ns);
	limits.produce_tps = 10;
	quota_ledger_set(&ledger, &limits, now_ns);
	CHECK_EQ(gcra_remaining(messages, now_ns), 2);
	quota_ledger_deinit(&ledger);
}

static struct gcra shared;
static uint64_t shared_passed;

static void *take_many(void *ctx)
{
	(void)ctx;
	for (unsigned i = 0; i < 200000; ++i)
		__atomic_add_fetch(&shared_passed, gcra_take(&shared, 3, S_NS), __ATOMIC_RELAXED);
	return NULL;
}

// However the threads meet, at one moment exactly one burst passes.
static void threads_share_one_limit(void)
{
	pthread_t threads[3];

	gcra_init(&shared, 1000000);
	for (unsigned i = 0; i < 3; ++i)
		CHECK_EQ(pthread_create(&threads[i], NULL, take_many, NULL), 0);
	for (unsigned i = 0; i < 3; ++i)
		pthread_join(threads[i], NULL);
	CHECK_EQ(shared_passed, 200000);
}

// ---- turns

static const uint32_t ten = 10; // with the stride 0

static size_t turn_take(struct quota_ledger *ledger, struct quota_turn *turn, size_t count,
			uint64_t now_ns)
{
	struct quota_charge charge;
	size_t passed =
		quota_turn_charge(ledger, turn, &ten, 0, count, 10 * count, now_ns, &charge);

	quota_charge_close(&charge);
	return passed;
}

// Two senders take turns: each gets what it was promised, at its time and not before, and together
// exactly the rate.
static void turns_go_round(void)
{
	struct tenant_limits limits = {.produce_tps = 100, .produce_bps = UINT64_MAX};
	struct quota_ledger ledger;
	struct quota_turn turns[2] = {{0}};
	uint64_t now_ns = 100 * S_NS, began_ns = now_ns;
	size_t total = 0;

	quota_ledger_init(&ledger, &limits, 0);
	CHECK_EQ(turn_take(&ledger, &turns[0], 64, now_ns), 20);
	for (unsigned i = 0; i < 2; ++i)
		CHECK(quota_turn_promise(&ledger, 10, 10, now_ns, &turns[i]));
	CHECK_EQ((turns[0].at_ns - now_ns) / MS_NS, 100);
	CHECK_EQ((turns[1].at_ns - now_ns) / MS_NS, 200);
	CHECK_EQ(turn_take(&ledger, &turns[1], 10, now_ns + 100 * MS_NS), 0);
	CHECK_EQ(turn_take(&ledger, &turns[1], 4, now_ns + 151 * MS_NS), 4); // half have come
	CHECK_EQ(turn_take(&ledger, &turns[1], 6, now_ns + 151 * MS_NS), 1);
	for (unsigned round = 0; now_ns < began_ns + 10 * S_NS; ++round) {
		struct quota_turn *turn = &turns[round % 2];

		if (!turn->ledger)
			CHECK(quota_turn_promise(&ledger, 10, 10, now_ns, turn));
		now_ns = MAX(now_ns, turn->at_ns);
		total += turn_take(&ledger, turn, (size_t)turn->messages, now_ns);
	}
	CHECK(total >= 960 && total <= 1001);
	for (unsigned i = 0; i < 2; ++i)
		quota_turn_end(&turns[i]);
	quota_ledger_deinit(&ledger);
}

// What a sender does not take is there for others; what is owed for one message that is larger than
// was thought ends the promise.
static void turns_end(void)
{
	struct tenant_limits limits = {.produce_tps = 100, .produce_bps = 1000};
	const uint32_t large = 5000;
	struct quota_ledger ledger;
	struct quota_turn turn = {0};
	struct quota_charge charge;
	uint64_t now_ns = 100 * S_NS;

	quota_ledger_init(&ledger, &limits, 0);
	CHECK(quota_turn_promise(&ledger, 20, 10, now_ns, &turn));
	CHECK_EQ(turn_take(&ledger, &(struct quota_turn){0}, 20, now_ns), 0);
	quota_turn_end(&turn);
	CHECK_EQ(turn_take(&ledger, &turn, 20, now_ns), 20);
	now_ns += S_NS;
	CHECK(quota_turn_promise(&ledger, 20, 10, now_ns, &turn));
	CHECK_EQ(quota_turn_charge(&ledger, &turn, &large, sizeof large, 1, large, now_ns, &charge),
		 1);
	quota_charge_close(&charge);
	CHECK(turn.ledger == NULL);
	CHECK_EQ(turn_take(&ledger, &turn, 1, now_ns + 4 * S_NS), 0); // 5 s are owed
	CHECK_EQ(turn_take(&ledger, &turn, 1, now_ns + 6 * S_NS), 1);
	quota_ledger_deinit(&ledger);
}

// What comes within one nanosecond comes at its end, not before.
static void turns_of_a_moment(void)
{
	struct tenant_limits limits = {.produce_tps = UINT32_MAX, .produce_bps = 400000000000};
	const uint32_t one = 1; // with the stride 0
	struct quota_ledger ledger;
	struct quota_turn turns[3] = {{0}};
	struct quota_charge charge;
	uint64_t now_ns = 100 * S_NS;

	quota_ledger_init(&ledger, &limits, 0);
	CHECK(quota_turn_promise(&ledger, 1, 300000000000, now_ns, &turns[0]));
	for (unsigned i = 1; i < 3; ++i)
		CHECK(quota_turn_promise(&ledger, 3, 10, now_ns, &turns[i]));
	CHECK(turns[2].start_ns == turns[2].at_ns && turns[2].at_ns > now_ns);
	CHECK_EQ(quota_turn_charge(&ledger, &turns[2], &one, 0, 10, 10, now_ns, &charge), 0);
	CHECK_EQ(turns[2].messages, 3);
	quota_charge_close(&charge);
	for (unsigned i = 0; i < 3; ++i)
		quota_turn_end(&turns[i]);
	quota_ledger_deinit(&ledger);
}

// A share that moves to and fro makes no tokens: what is free stays, up to a burst of the pace.
static void a_pace_makes_nothing_free(void)
{
	struct gcra gcra;

	gcra_init(&gcra, 1000);
	gcra_set_pace(&gcra, 500 * GCRA_FINE, S_NS);
	CHECK_EQ(gcra_remaining(&gcra, S_NS), 100);
	CHECK_EQ(gcra_take(&gcra, 60, S_NS), 60);
	gcra_set_pace(&gcra, 1000 * GCRA_FINE, S_NS);
	CHECK_EQ(gcra_remaining(&gcra, S_NS), 40);
	gcra_set_pace(&gcra, 100 * GCRA_FINE, S_NS);
	CHECK_EQ(gcra_remaining(&gcra, S_NS), 20);
	for (unsigned i = 0; i < 100; ++i)
		gcra_set_pace(&gcra, (i % 2 ? 100 : 1000) * GCRA_FINE, S_NS);
	CHECK_EQ(gcra_remaining(&gcra, S_NS), 20);
	CHECK_EQ(gcra_rate(&gcra), 100);
	// A debt stays as many units.
	gcra_give_back(&gcra, 0);
	CHECK(gcra_take_all(&gcra, 20, false, S_NS));
	CHECK_EQ(gcra_wait_ns(&gcra, 1, S_NS), 10 * MS_NS);
	gcra_set_pace(&gcra, GCRA_FINE / 4, S_NS); // a quarter of a message a second
	CHECK_EQ(gcra_take(&gcra, 1, S_NS + 3 * S_NS), 0);
	CHECK_EQ(gcra_take(&gcra, 1, S_NS + 4 * S_NS + 1), 1);
}

static void a_shared_limit_counts(void)
{
	struct gcra gcra;
	uint64_t refused, start_ns;

	gcra_init(&gcra, 1000);
	gcra_take(&gcra, 10, S_NS);
	CHECK_EQ(gcra_taken(&gcra, &refused), 0); // it is not counted yet
	gcra_count(&gcra, true);
	CHECK_EQ(gcra_take(&gcra, 300, S_NS), 190);
	CHECK_EQ(gcra_taken(&gcra, &refused), 190);
	CHECK_EQ(refused, 110);
	gcra_give_back(&gcra, 90);
	CHECK(gcra_take_all(&gcra, 50, false, S_NS));
	CHECK(!gcra_take_all(&gcra, 50, false, S_NS));
	CHECK_EQ(gcra_taken(&gcra, &refused), 150);
	CHECK_EQ(refused, 50);
	gcra_reserve(&gcra, 7, S_NS, &start_ns);
	CHECK_EQ(gcra_taken(&gcra, &refused), 157);
	CHECK_EQ(refused, 0);
}

UNIT_MAIN(UNIT_CASE(a_pace_makes_nothing_free), UNIT_CASE(a_shared_limit_counts),
	  UNIT_CASE(turns_go_round), UNIT_CASE(turns_end), UNIT_CASE(turns_of_a_moment),
	  UNIT_CASE(rates_are_exact), UNIT_CASE(large_rates_do_not_overflow),
	  UNIT_CASE(burst_is_a_fifth), UNIT_CASE(only_one_large_thing_goes_negative),
	  UNIT_CASE(batches_pass_in_part), UNIT_CASE(limits_change_live),
	  UNIT_CASE(a_raised_limit_helps_at_once), UNIT_CASE(threads_share_one_limit))
