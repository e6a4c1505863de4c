// Settling: acks, nacks and their delays, old receipts, rejects, and the window.

#include "tests/contract/promises.h"

#include "core/base/clock.h"
#include "tests/contract/steps.h"

void a_nack_comes_again_with_its_attempt(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got[3], again;

	bench_fill(bench, topic, 0, 0, 4);
	reader_demand(reader, 3, 1 << 20);
	take_all(reader, got, 3);
	settle(reader, &got[1], SETTLE_NACK, 0);
	reader_demand(reader, 1, 1 << 20); // what is due again comes before what is new
	take_all(reader, &again, 1);
	CHECK_EQ(again.number, 1);
	CHECK_EQ(again.delivery.attempt, 2);
	CHECK_EQ(again.delivery.offset, got[1].delivery.offset);
	CHECK_EQ(again.delivery.epoch, got[1].delivery.epoch);
	CHECK_EQ(again.delivery.stored_ms, got[1].delivery.stored_ms);
	settle(reader, &again, SETTLE_RELEASE, 0);
	reader_drop(&again, 1);
	reader_demand(reader, 1, 1 << 20);
	take_all(reader, &again, 1);
	CHECK_EQ(again.number, 1);
	CHECK_EQ(again.delivery.attempt, 2); // a release does not count
	settle(reader, &again, SETTLE_ACK, 0);
	reader_drop(&again, 1);
	reader_drop(got, 3);
	reader_close(reader);
	models_end(topic, group);
}

void a_delayed_nack_waits(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	uint32_t delay_ms = keeps_positions(bench) ? 300 : 2000; // a queue counts by a question
	uint64_t began_ns;
	struct got got, again;

	bench_fill(bench, topic, 0, 0, 1);
	reader_demand(reader, 10, 1 << 20);
	take_all(reader, &got, 1);
	began_ns = clock_now_ns();
	settle(reader, &got, SETTLE_NACK, delay_ms);
	expect_backlog(reader, 0, 0, 1, 0);
	take_all(reader, &again, 1);
	CHECK(clock_now_ns() - began_ns >= (delay_ms - 10) * MS_NS);
	CHECK(clock_now_ns() - began_ns < SHORT_MS * MS_NS);
	CHECK_EQ(again.delivery.attempt, 2);
	expect_backlog(reader, 0, 1, 0, 0);
	settle(reader, &again, SETTLE_ACK, 0);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_drop(&got, 1);
	reader_drop(&again, 1);
	reader_close(reader);
	models_end(topic, group);
}

void old_receipts_are_stale(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct settle entry;
	struct got got[2], again;

	bench_fill(bench, topic, 0, 0, 2);
	reader_demand(reader, 2, 1 << 20);
	take_all(reader, got, 2);
	settle(reader, &got[0], SETTLE_ACK, 0);
	expect_stale(reader, reader_receipt(&got[0], SETTLE_ACK, 0)); // twice
	expect_stale(reader, reader_receipt(&got[0], SETTLE_NACK, 0));
	entry = reader_receipt(&got[1], SETTLE_ACK, 0);
	++entry.epoch;
	expect_stale(reader, entry);
	entry = reader_receipt(&got[1], SETTLE_ACK, 0);
	++entry.attempt;
	expect_stale(reader, entry);
	entry = reader_receipt(&got[1], SETTLE_ACK, 0);
	entry.offset += 1000;
	expect_stale(reader, entry);
	entry = reader_receipt(&got[1], SETTLE_ACK, 0);
	entry.partition = 77;
	expect_stale(reader, entry);
	entry = reader_receipt(&got[1], SETTLE_ACK, 0);
	entry.count = UINT32_MAX; // a hostile run settles what it may and takes no time
	CHECK_EQ(reader_settle(reader, &entry, 1), CODE_OK);
	CHECK_EQ(entry.settled, 1);
	CHECK_EQ(entry.code, CODE_STALE);
	reader_close(reader);

	bench_fill(bench, topic, 0, 2, 1);
	reader = reader_open(bench, topic, group); // a new epoch
	reader_demand(reader, 2, 1 << 20);
	take_all(reader, &again, 1);
	CHECK(again.delivery.epoch > got[1].delivery.epoch);
	entry = reader_receipt(&again, SETTLE_ACK, 0);
	entry.epoch = got[1].delivery.epoch;
	expect_stale(reader, entry);
	settle(reader, &again, SETTLE_ACK, 0);
	reader_drop(&again, 1);
	reader_drop(got, 2);
	reader_close(reader);
	models_end(topic, group);
}

void runs_of_receipts_settle_together(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got[100];
	struct settle entry;

	bench_fill(bench, topic, 0, 0, 100);
	reader_demand(reader, 100, 1 << 20);
	take_all(reader, got, 100);
	entry = reader_receipt(&got[10], SETTLE_ACK, 0);
	entry.count = 80;
	CHECK_EQ(reader_settle(reader, &entry, 1), CODE_OK);
	CHECK_EQ(entry.settled, 80);
	entry.offset = got[0].delivery.offset;
	entry.count = 20;
	CHECK_EQ(reader_settle(reader, &entry, 1), CODE_OK);
	CHECK_EQ(entry.settled, 10);
	CHECK_EQ(entry.code, CODE_STALE);
	expect_backlog(reader, 0, 10, 0, 0);
	reader_drop(got, 100);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 10, 0, 0);
	models_end(topic, group);
}

// And before what no consumer has had.
void what_was_unsettled_comes_again(struct bench *bench)
{
	enum { OLD = 5, NEW = 2000 };
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	static struct got got[OLD + NEW];
	struct settle entries[5];

	bench_fill(bench, topic, 0, 0, 10);
	reader_demand(reader, 10, 1 << 20);
	take_all(reader, got, 10);
	bench_fill(bench, topic, 0, 10, NEW);
	for (uint32_t i = 0; i < 5; ++i)
		entries[i] = reader_receipt(&got[2 * i], SETTLE_ACK, 0);
	reader_settle_soon(reader, entries, 5); // closing makes it durable
	reader_drop(got, 10);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, OLD + NEW, 0, 0);
	bench_reopen(bench);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, OLD + NEW + 1, 1 << 20);
	take_all(reader, got, OLD + NEW);
	for (uint32_t i = 0; i < OLD + NEW; ++i) {
		CHECK_EQ(got[i].number, i < OLD ? 2 * i + 1 : i + OLD);
		CHECK_EQ(got[i].delivery.attempt, 1);
	}
	expect_quiet(reader);
	reader_drop(got, OLD + NEW);
	reader_close(reader);
	models_end(topic, group);
}

void attempts_survive(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct got got[2];

	bench_fill(bench, topic, 0, 0, 2);
	for (uint32_t attempt = 1; attempt <= 3; ++attempt) {
		struct reader *reader = reader_open(bench, topic, group);

		reader_demand(reader, 2, 1 << 20);
		take_all(reader, got, 2);
		CHECK_EQ(got[0].number, 0);
		CHECK_EQ(got[0].delivery.attempt, attempt);
		CHECK_EQ(got[1].delivery.attempt, 1);
		settle(reader, &got[0], SETTLE_NACK, 0);
		reader_drop(got, 2);
		reader_close(reader);
		bench_reopen(bench);
	}
	models_end(topic, group);
}

// What is rejected comes once more, marked, for its dead-letter copy: against a demand of its own,
// which brings nothing else. More than the commit metadata can hold wait in the retry store.
static void
reject_for_copies(struct bench *bench,
		  void (*check_open)(struct reader *reader, uint64_t open, uint64_t ready),
		  void (*check_end)(struct reader *reader, uint64_t ended, uint64_t ready))
{
	enum { COUNT = 400, NEW = 100 };
	const struct topic *topic = plain_topic(bench, 2);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	static struct got got[COUNT];

	bench_fill(bench, topic, 0, 0, COUNT);
	reader_demand(reader, COUNT, 1 << 20);
	take_all(reader, got, COUNT);
	bench_fill(bench, topic, 1, COUNT, NEW);
	for (size_t i = 0; i < COUNT; ++i)
		settle(reader, &got[i], SETTLE_REJECT, 0);
	reader_drop(got, COUNT);
	expect_quiet(reader); // it needs its demand
	reader_demand_rejected(reader, 10);
	take_all(reader, got, 10);
	expect_quiet(reader);
	reader_demand_rejected(reader, COUNT);
	take_all(reader, got + 10, COUNT - 10);
	expect_quiet(reader);
	for (size_t i = 0; i < COUNT; ++i) {
		CHECK(got[i].delivery.rejected && got[i].delivery.record);
		CHECK_EQ(got[i].delivery.partition, 0);
		CHECK_EQ(got[i].delivery.attempt, 2);
	}
	check_open(reader, COUNT, NEW);
	ack_all(reader, got, COUNT);
	check_end(reader, COUNT, NEW);
	reader_drop(got, COUNT);
	reader_close(reader);
	models_end(topic, group);
}

static void check_open_of_log(struct reader *reader, uint64_t open, uint64_t ready)
{
	struct source_partition rows[2];

	reader_backlog(reader, rows, 2);
	CHECK_EQ(rows[0].in_flight, open);
	CHECK_EQ(rows[0].retrying + rows[0].ready, 0);
	CHECK_EQ(rows[1].in_flight, 0);
	CHECK_EQ(rows[1].ready, ready);
}

static void check_end_of_log(struct reader *reader, uint64_t ended, uint64_t ready)
{
	struct source_partition rows[2];

	reader_backlog(reader, rows, 2);
	CHECK_EQ(rows[0].in_flight, 0);
	CHECK_EQ(rows[0].log.committed, ended);
}

void rejected_come_once_more_by_themselves(struct bench *bench)
{
	reject_for_copies(bench, check_open_of_log, check_end_of_log);
}

static void check_open_of_queue(struct reader *reader, uint64_t open, uint64_t ready)
{
	expect_backlog(reader, ready, open, 0, 0);
}

static void check_end_of_queue(struct reader *reader, uint64_t ended, uint64_t ready)
{
	struct source_partition row;

	expect_backlog(reader, ready, 0, 0, 0);
	reader_backlog(reader, &row, 1);
	CHECK_EQ(row.acked, ended);
}

void rejected_come_once_more_from_a_queue(struct bench *bench)
{
	reject_for_copies(bench, check_open_of_queue, check_end_of_queue);
}

// A consumer that waits for the answer to a reject takes nothing meanwhile, however much is due.
// Everything here is more than the commit metadata can hold.
void a_reject_waits_for_nothing_else(struct bench *bench)
{
	enum { COUNT = 800, NACKED = 750 };
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	static struct got got[COUNT];

	bench_fill(bench, topic, 0, 0, COUNT);
	reader_demand(reader, COUNT, 1 << 20);
	take_all(reader, got, COUNT);
	settle_all(reader, got, NACKED, SETTLE_NACK);
	expect_quiet(reader);
	settle_all(reader, got + NACKED, COUNT - NACKED, SETTLE_REJECT);
	reader_drop(got, COUNT);
	reader_demand_rejected(reader, COUNT);
	take_all(reader, got, COUNT - NACKED);
	for (size_t i = 0; i < COUNT - NACKED; ++i)
		CHECK(got[i].delivery.rejected && got[i].number >= NACKED);
	reader_demand(reader, COUNT, 1 << 20);
	take_all(reader, got + COUNT - NACKED, NACKED);
	for (size_t i = COUNT - NACKED; i < COUNT; ++i)
		CHECK(!got[i].delivery.rejected && got[i].number < NACKED);
	ack_all(reader, got, COUNT);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_drop(got, COUNT);
	reader_close(reader);
	models_end(topic, group);
}

// Closed before its copy was made: it comes as any other, with one more attempt.
void a_reject_that_is_cut_off_comes_again(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got;

	bench_fill(bench, topic, 0, 0, 1);
	reader_demand(reader, 1, 1 << 20);
	take_all(reader, &got, 1);
	settle(reader, &got, SETTLE_REJECT, 0);
	reader_drop(&got, 1);
	expect_backlog(reader, 0, 0, 1, 0);
	reader_close(reader);
	bench_reopen(bench);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 1, 1 << 20);
	take_all(reader, &got, 1);
	CHECK(!got.delivery.rejected);
	CHECK_EQ(got.delivery.attempt, 2);
	reader_drop(&got, 1);
	reader_close(reader);
	models_end(topic, group);
}

// More positions with attempts than the commit metadata can hold: the rest waits in the retry
// store. The caller cannot tell.
void many_nacks_keep_their_attempts(struct bench *bench)
{
	enum { COUNT = 400 };
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	static struct got got[COUNT];
	bool seen[COUNT] = {false};

	bench_fill(bench, topic, 0, 0, COUNT);
	reader_demand(reader, COUNT, 1 << 20);
	take_all(reader, got, COUNT);
	for (size_t i = 0; i < COUNT; ++i)
		settle(reader, &got[i], SETTLE_NACK, 50000);
	expect_backlog(reader, 0, 0, COUNT, 0);
	reader_drop(got, COUNT);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 0, COUNT, 0);

	bench_reopen(bench);
	reader = reader_open(bench, topic, group);
	CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
	expect_backlog(reader, 0, 0, COUNT, 0);
	reader_close(reader);

	// The same with no delay: all of them come with attempt 2.
	json_decref(
		bench_reset(bench, group, topic, json_pack("{s:b}", "earliest", 1), false, NULL));
	reader = reader_open(bench, topic, group);
	reader_demand(reader, COUNT, 1 << 20);
	take_all(reader, got, COUNT);
	for (size_t i = 0; i < COUNT; ++i) {
		CHECK_EQ(got[i].delivery.attempt, 1);
		settle(reader, &got[i], SETTLE_NACK, 0);
	}
	reader_drop(got, COUNT);
	reader_demand(reader, COUNT, 1 << 20);
	take_all(reader, got, COUNT);
	for (size_t i = 0; i < COUNT; ++i) {
		CHECK_EQ(got[i].delivery.attempt, 2);
		CHECK(!seen[got[i].number]);
		seen[got[i].number] = true;
	}
	ack_all(reader, got, COUNT);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_drop(got, COUNT);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
	models_end(topic, group);
}

void attempts_have_no_end(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got;

	bench_fill(bench, topic, 0, 0, 1);
	for (uint32_t attempt = 1; attempt <= 150; ++attempt) {
		reader_demand(reader, 1, 1 << 20);
		take_all(reader, &got, 1);
		CHECK_EQ(got.delivery.attempt, attempt);
		expect_backlog(reader, 0, 1, 0, 0);
		settle(reader, &got, attempt % 7 ? SETTLE_NACK : SETTLE_RELEASE, 0);
		reader_drop(&got, 1);
		if (attempt % 7 == 0) { // released: the same attempt again
			reader_demand(reader, 1, 1 << 20);
			take_all(reader, &got, 1);
			CHECK_EQ(got.delivery.attempt, attempt);
			settle(reader, &got, SETTLE_NACK, attempt % 2);
			reader_drop(&got, 1);
		}
	}
	reader_close(reader);
	models_end(topic, group);
}

void a_long_nack_survives_outside_the_window(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct source_partition row;
	struct got got[10];

	bench_fill(bench, topic, 0, 0, 10);
	reader_demand(reader, 10, 1 << 20);
	take_all(reader, got, 10);
	settle(reader, &got[0], SETTLE_NACK, 3600 * 1000);
	ack_all(reader, got + 1, 9);
	reader_backlog(reader, &row, 1);
	expect_committed(bench, &row, 10); // it does not hold the head
	CHECK_EQ(row.retrying, 1);
	expect_stale(reader, reader_receipt(&got[0], SETTLE_ACK, 0));
	reader_drop(got, 10);
	reader_close(reader);
	bench_reopen(bench);
	expect_closed_backlog(bench, group, topic, 0, 1, 0);
	CHECK_EQ(bench_group_delete(bench, group, topic), CODE_OK);
	models_end(topic, group);
}

// The next group of that name begins with nothing of this one.
void a_deleted_group_hands_on_nothing(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got[10];

	bench_fill(bench, topic, 0, 0, 10);
	for (unsigned life = 0; life < 2; ++life) {
		reader_demand(reader, 10, 1 << 20);
		take_all(reader, got, 10);
		for (size_t i = 0; i < 10; ++i)
			CHECK_EQ(got[i].delivery.attempt, 1);
		settle(reader, &got[3], SETTLE_NACK, 3600 * 1000);
		settle(reader, &got[7], SETTLE_NACK, 3600 * 1000);
		expect_backlog(reader, 0, 8, 2, 0);
		reader_drop(got, 10);
		reader_close(reader);
		CHECK_EQ(bench_group_delete(bench, group, topic), CODE_OK);
		CHECK_EQ(bench_group_create(bench, group, topic), CODE_OK);
		expect_closed_backlog(bench, group, topic, 10, 0, 0);
		reader = reader_open(bench, topic, group);
	}
	reader_close(reader);
	models_end(topic, group);
}

void the_window_has_a_bound(struct bench *bench)
{
	enum { COUNT = 20000, WINDOW = 16384 };
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got *got = calloc(COUNT, sizeof *got);
	struct source_partition row;

	bench_fill(bench, topic, 0, 0, COUNT);
	reader_demand(reader, COUNT, 1 << 30);
	take_all(reader, got, WINDOW);
	expect_quiet(reader);
	CHECK(reader_wait_state(reader, SOURCE_WINDOW_FULL, SHORT_MS));
	reader_backlog(reader, &row, 1);
	CHECK(row.log.window_full);
	CHECK_EQ(row.in_flight, WINDOW);
	CHECK_EQ(row.ready, COUNT - WINDOW);
	ack_all(reader, got + 1, WINDOW - 1); // the head still holds it
	expect_quiet(reader);
	settle(reader, &got[0], SETTLE_ACK, 0);
	take_all(reader, got + WINDOW, COUNT - WINDOW);
	CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
	ack_all(reader, got + WINDOW, COUNT - WINDOW);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_drop(got, COUNT);
	reader_close(reader);
	free(got);
	models_end(topic, group);
}
