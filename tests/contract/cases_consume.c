// What a group gets and when: demand, where it starts, due times, expiry, and the backlog of it
// all.

#include "tests/contract/promises.h"

#include "core/base/clock.h"
#include "tests/contract/steps.h"

void demand_is_never_exceeded(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got[20];

	bench_fill(bench, topic, 0, 0, 50);
	expect_quiet(reader); // nothing demanded
	reader_demand(reader, 5, 1 << 20);
	take_all(reader, got, 5);
	expect_quiet(reader);
	reader_demand(reader, 10, 1); // one of any size goes
	take_all(reader, got + 5, 1);
	expect_quiet(reader);
	reader_demand(reader, 1, 0); // no bytes, no message
	expect_quiet(reader);
	reader_demand(reader, 14, 1 << 20);
	take_all(reader, got + 6, 14);
	for (uint32_t i = 0; i < 20; ++i)
		CHECK_EQ(got[i].number, i);
	reader_drop(got, 20);
	reader_close(reader);
	models_end(topic, group);
}

void followers_of_the_end_are_told(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 2);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got;

	reader_demand(reader, 1000, 1 << 20);
	for (uint32_t i = 0; i < 100; ++i) {
		struct message message = {.partition = i % 2, .number = i, .body = TEXT("x")};

		bench_send_ok(bench, topic, &message, 1);
		take_all(reader, &got, 1);
		CHECK_EQ(got.number, i);
		settle(reader, &got, SETTLE_ACK, 0);
		reader_drop(&got, 1);
	}
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
	models_end(topic, group);
}

void each_group_gets_everything(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *groups[3];
	struct got got[30];

	bench_fill(bench, topic, 0, 0, 30);
	for (size_t i = 0; i < 3; ++i) {
		struct reader *reader;

		groups[i] = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
		reader = reader_open(bench, topic, groups[i]);
		reader_demand(reader, 30, 1 << 20);
		take_all(reader, got, 30);
		ack_all(reader, got, 10 * i);
		reader_drop(got, 30);
		reader_close(reader);
	}
	for (size_t i = 0; i < 3; ++i) {
		expect_closed_backlog(bench, groups[i], topic, 30 - 10 * (json_int_t)i, 0, 0);
		model_unref(groups[i]);
	}
	model_unref(topic);
}

void start_positions(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *earliest, *latest, *timed;
	int64_t middle_ms;

	bench_fill(bench, topic, 0, 0, 10);
	usleep(3000);
	middle_ms = clock_wall_ms();
	usleep(3000);
	bench_fill(bench, topic, 0, 10, 10);
	earliest = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	latest = bench_group(bench, topic, GROUP_START_LATEST, 0);
	expect_closed_backlog(bench, earliest, topic, 20, 0, 0);
	expect_closed_backlog(bench, latest, topic, 0, 0, 0);
	if (bench->capabilities & CAP_QUERY_TIME) {
		timed = bench_group(bench, topic, GROUP_START_TIME, middle_ms);
		expect_closed_backlog(bench, timed, topic, 10, 0, 0);
		model_unref(timed);
	}
	bench_fill(bench, topic, 0, 20, 1);
	expect_closed_backlog(bench, latest, topic, 1, 0, 0);
	model_unref(earliest);
	models_end(topic, latest);
}

// ---- due times and time to live

// Opening is not part of what is timed.
static int64_t ready_now_ms(struct reader *reader)
{
	CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
	return clock_wall_ms();
}

void a_due_message_waits(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	int64_t now_ms = ready_now_ms(reader);
	struct message messages[] = {
		{.number = 0, .body = TEXT("a"), .due_ms = now_ms + 5000},
		{.number = 1, .body = TEXT("b")},
		{.number = 2, .body = TEXT("c"), .due_ms = now_ms + 4000},
		{.number = 3, .body = TEXT("d"), .due_ms = now_ms - 1000},
	};
	struct settle old;
	struct got got[4];

	bench_send_ok(bench, topic, messages, 4);
	reader_demand(reader, 10, 1 << 20);
	take_all(reader, got, 2);
	CHECK_EQ(got[0].number, 1);
	CHECK_EQ(got[1].number, 3); // due in the past is now
	expect_backlog(reader, 0, 2, 0, 2);
	ack_all(reader, got, 2);
	reader_drop(got, 2);
	reader_close(reader);
	bench_reopen(bench);
	expect_closed_waiting(bench, group, topic, 0, 2);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 10, 1 << 20);
	take_all(reader, got, 2);
	CHECK(clock_wall_ms() >= now_ms + 5000);
	CHECK_EQ(got[0].number, 2);
	CHECK_EQ(got[1].number, 0);
	expect_offset(bench, &got[0], 2);
	CHECK_EQ(got[0].delivery.attempt, 1);
	old = reader_receipt(&got[0], SETTLE_ACK, 0);
	settle(reader, &got[0], SETTLE_NACK, 0);
	settle(reader, &got[1], SETTLE_ACK, 0);
	reader_drop(got, 2);
	take_all(reader, got, 1);
	CHECK_EQ(got[0].number, 2);
	CHECK_EQ(got[0].delivery.attempt, 2);
	expect_stale(reader, old);
	settle(reader, &got[0], SETTLE_ACK, 0);
	reader_drop(got, 1);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_close(reader);
	bench_reopen(bench);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
	models_end(topic, group);
}

void many_due_messages_all_come(struct bench *bench)
{
	enum { COUNT = 6000 };
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got *got = calloc(COUNT, sizeof *got);
	struct message messages[100];
	bool *seen = calloc(COUNT, 1);
	int64_t due_ms = clock_wall_ms() + 1500;

	for (uint32_t i = 0; i < COUNT; ++i) {
		messages[i % 100] =
			(struct message){.number = i, .body = TEXT("x"), .due_ms = due_ms + i % 10};
		if (i % 100 == 99)
			bench_send_ok(bench, topic, messages, 100);
	}
	reader_demand(reader, COUNT, 1 << 30);
	take_all(reader, got, COUNT);
	for (size_t i = 0; i < COUNT; ++i) {
		CHECK(!seen[got[i].number]);
		seen[got[i].number] = true;
	}
	ack_all(reader, got, COUNT);
	expect_quiet(reader);
	reader_drop(got, COUNT);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
	free(got);
	free(seen);
	models_end(topic, group);
}

void what_has_expired_is_dropped_and_counted(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	int64_t now_ms = ready_now_ms(reader);
	const int64_t off_ms = 7200000; // producers' clocks: it counts from when it is stored
	struct message messages[] = {
		{.number = 0, .body = TEXT("a"), .created_ms = now_ms + off_ms, .ttl_ms = 500},
		{.number = 1, .body = TEXT("b"), .created_ms = now_ms - off_ms, .ttl_ms = 60000},
		// Time to live counts from the due time.
		{.number = 2,
		 .body = TEXT("c"),
		 .created_ms = now_ms - 9000,
		 .ttl_ms = 60000,
		 .due_ms = now_ms - 10},
		{.number = 3, .body = TEXT("d"), .created_ms = now_ms, .ttl_ms = 4500},
	};
	struct source_partition row;
	struct got got[3];

	bench_send_ok(bench, topic, messages, 4);
	usleep(1000 * 1000);
	reader_demand(reader, 3, 1 << 20);
	take_all(reader, got, 3);
	CHECK_EQ(got[0].number, 1);
	CHECK_EQ(got[1].number, 2);
	CHECK_EQ(got[2].number, 3);
	settle(reader, &got[2], SETTLE_NACK, 3600); // expires while it waits
	reader_demand(reader, 3, 1 << 20);
	usleep(4000 * 1000);
	expect_quiet(reader);
	reader_backlog(reader, &row, 1);
	CHECK_EQ(row.counts.expired, 2);
	CHECK_EQ(row.acked + row.counts.dead + row.counts.skipped, 0);
	CHECK_EQ(row.in_flight, 2);
	CHECK_EQ(row.ready + row.retrying + row.delayed, 0);
	reader_drop(got, 3);
	reader_close(reader);
	models_end(topic, group);
}

// ---- backlog

struct ledger {
	uint32_t sent, acked;
	uint32_t acked_before; // of a queue: before its source was opened
	struct got open[64];
	size_t open_count;
};

static uint64_t random_below(uint64_t *state, uint64_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % below;
}

static uint64_t backlog_of(const struct source_partition *row)
{
	return row->ready + row->in_flight + row->retrying + row->delayed;
}

static void ledger_check(struct reader *reader, const struct ledger *ledger)
{
	uint64_t until_ns = clock_now_ns() + SHORT_MS * MS_NS;
	struct source_partition row;

	do {
		reader_backlog(reader, &row, 1);
	} while (backlog_of(&row) != ledger->sent - ledger->acked &&
		 look_again(reader_bench(reader), until_ns));
	CHECK_EQ(row.in_flight, ledger->open_count);
	CHECK_EQ(backlog_of(&row), ledger->sent - ledger->acked);
	if (keeps_positions(reader_bench(reader)))
		CHECK_EQ(row.log.end, ledger->sent);
	CHECK_EQ(row.acked, ledger->acked - ledger->acked_before);
	CHECK_EQ(row.counts.dead + row.counts.expired + row.counts.skipped + row.counts.replayed,
		 0);
}

static void ledger_step(struct bench *bench, const struct topic *topic, struct reader *reader,
			struct ledger *ledger, uint64_t *seed)
{
	size_t pick = ledger->open_count ? random_below(seed, ledger->open_count) : 0;
	struct message message = {.number = ledger->sent, .body = TEXT("x")};
	uint32_t delay_ms = random_below(seed, 3) ? 0 : (uint32_t)random_below(seed, 90000);
	enum settle_verb verb;

	switch (random_below(seed, 4)) {
	case 0:
		message.due_ms = random_below(seed, 4) ? 0 : clock_wall_ms() + 2;
		bench_send_ok(bench, topic, &message, 1);
		++ledger->sent;
		return;
	case 1:
		if (ledger->open_count == ARRAY_SIZE(ledger->open))
			return;
		reader_demand(reader, 1, 1 << 20);
		ledger->open_count += reader_take(reader, &ledger->open[ledger->open_count], 1, 3);
		reader_demand(reader, 0, 0);
		ledger->open_count += reader_take(reader, &ledger->open[ledger->open_count], 1, 0);
		return;
	default:
		if (!ledger->open_count)
			return;
		verb = random_below(seed, 2)   ? SETTLE_ACK
		       : random_below(seed, 2) ? SETTLE_NACK
					       : SETTLE_RELEASE;
		settle(reader, &ledger->open[pick], verb, delay_ms);
		ledger->acked += verb == SETTLE_ACK;
		reader_drop(&ledger->open[pick], 1);
		ledger->open[pick] = ledger->open[--ledger->open_count];
	}
}

// The group is closed four times, the backend twice.
static void backlog_adds_up(struct bench *bench, unsigned steps)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_wall_ms();
	struct ledger ledger = {0};

	fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
	CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
	for (unsigned step = 0; step < steps; ++step) {
		ledger_step(bench, topic, reader, &ledger, &seed);
		ledger_check(reader, &ledger);
		if ((step + 1) % (steps / 4) != 0)
			continue;
		reader_drop(ledger.open, ledger.open_count);
		ledger.open_count = 0;
		reader_close(reader);
		if ((step + 1) % (steps / 2) == 0)
			bench_reopen(bench);
		ledger.acked_before = keeps_positions(bench) ? 0 : ledger.acked;
		reader = reader_open(bench, topic, group);
		CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
		ledger_check(reader, &ledger);
	}
	reader_drop(ledger.open, ledger.open_count);
	reader_close(reader);
	models_end(topic, group);
}

void the_backlog_adds_up_at_every_step(struct bench *bench)
{
	backlog_adds_up(bench, 1200);
}

// Each look asks the cluster, which takes up to a fifth of a second.
void the_backlog_of_a_queue_adds_up(struct bench *bench)
{
	backlog_adds_up(bench, 160);
}
