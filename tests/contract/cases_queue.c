// The form that a case takes where the cluster keeps no positions: what a group has not consumed
// waits in its queue, a failed attempt comes back as another delivery at the end of it, and what
// was sent before a group was made is not there for it. Behind these, what a cluster promises that
// has queues and keeps a history beside them.

#include "tests/contract/promises.h"

#include "tests/contract/steps.h"
#include "tests/queue_example/queue_example.h"

#include <pthread.h>

// ---- what a group gets

void each_group_gets_what_is_sent_after_it(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *groups[3], *late;
	struct got got[30];

	for (size_t i = 0; i < 3; ++i)
		groups[i] = bench_group(bench, topic, GROUP_START_LATEST, 0);
	bench_fill(bench, topic, 0, 0, 30);
	late = bench_group(bench, topic, GROUP_START_LATEST, 0);
	for (size_t i = 0; i < 3; ++i) {
		struct reader *reader = reader_open(bench, topic, groups[i]);

		reader_demand(reader, 31, 1 << 20);
		take_all(reader, got, 30);
		for (uint32_t at = 0; at < 30; ++at)
			CHECK_EQ(got[at].number, at);
		expect_quiet(reader);
		ack_all(reader, got, 10 * i);
		reader_drop(got, 30);
		reader_close(reader);
	}
	for (size_t i = 0; i < 3; ++i) {
		expect_closed_backlog(bench, groups[i], topic, 30 - 10 * (json_int_t)i, 0, 0);
		model_unref(groups[i]);
	}
	expect_closed_backlog(bench, late, topic, 0, 0, 0);
	bench_fill(bench, topic, 0, 30, 1);
	expect_closed_backlog(bench, late, topic, 1, 0, 0);
	models_end(topic, late);
}

// The next group of that name begins with nothing of this one.
void a_deleted_queue_hands_on_nothing(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	struct got got[10];

	for (uint32_t life = 0; life < 2; ++life) {
		struct reader *reader = reader_open(bench, topic, group);

		bench_fill(bench, topic, 0, 10 * life, 10);
		reader_demand(reader, 11, 1 << 20);
		take_all(reader, got, 10);
		for (uint32_t i = 0; i < 10; ++i) {
			CHECK_EQ(got[i].number, 10 * life + i);
			CHECK_EQ(got[i].delivery.attempt, 1);
		}
		expect_quiet(reader);
		settle(reader, &got[3], SETTLE_NACK, 3600 * 1000);
		settle(reader, &got[7], SETTLE_NACK, 3600 * 1000);
		expect_backlog(reader, 0, 8, 2, 0);
		reader_drop(got, 10);
		reader_close(reader);
		CHECK_EQ(bench_group_delete(bench, group, topic), CODE_OK);
		CHECK_EQ(bench_group_create(bench, group, topic), CODE_OK);
		expect_closed_backlog(bench, group, topic, 0, 0, 0);
	}
	models_end(topic, group);
}

// All that has come when nothing more comes for some time.
static uint32_t take_until_quiet(struct reader *reader, struct got *got, uint32_t room)
{
	uint32_t taken = 0, more;

	do {
		more = (uint32_t)reader_take(reader, got + taken, room - taken, 2000);
		taken += more;
	} while (more && taken < room);
	return taken;
}

// The first that is open holds up no others: only their number is bounded.
void a_queue_hands_out_no_more_than_its_bound(struct bench *bench)
{
	enum { COUNT = 20000, LEAST = 6000 };
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got *got = calloc(COUNT, sizeof *got);
	uint32_t bound;

	bench_fill(bench, topic, 0, 0, COUNT);
	reader_demand(reader, COUNT, 1 << 30);
	bound = take_until_quiet(reader, got, COUNT);
	CHECK(bound >= LEAST && bound < COUNT);
	CHECK_EQ(reader_state(reader), SOURCE_READY);
	expect_backlog(reader, COUNT - bound, bound, 0, 0);
	ack_all(reader, got + 1, bound - 1);
	for (uint32_t taken = bound, more; taken < COUNT; taken += more) {
		CHECK_EQ(reader_take(reader, got + taken, 1, BENCH_WAIT_MS), 1);
		more = 1 + take_until_quiet(reader, got + taken + 1, COUNT - taken - 1);
		ack_all(reader, got + taken, more);
	}
	for (uint32_t i = 0; i < COUNT; ++i)
		CHECK_EQ(got[i].number, i);
	expect_backlog(reader, 0, 1, 0, 0);
	settle(reader, &got[0], SETTLE_ACK, 0);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_drop(got, COUNT);
	reader_close(reader);
	free(got);
	models_end(topic, group);
}

// ---- attempts

void a_nack_comes_again_as_another_delivery(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 2);
	const struct group *group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got[3], next[2], again;
	size_t nacked;

	bench_fill(bench, topic, 1, 0, 4);
	reader_demand(reader, 3, 1 << 20);
	take_all(reader, got, 3);
	settle(reader, &got[1], SETTLE_NACK, 0);
	expect_stale(reader, reader_receipt(&got[1], SETTLE_ACK, 0));
	reader_demand(reader, 2, 1 << 20); // it may be behind what is new
	take_all(reader, next, 2);
	nacked = next[0].number == 1 ? 0 : 1;
	CHECK_EQ(next[nacked].number, 1);
	CHECK_EQ(next[nacked].delivery.attempt, 2);
	CHECK_EQ(next[nacked].delivery.partition, 1);
	CHECK_EQ(next[nacked].delivery.epoch, got[1].delivery.epoch);
	CHECK_EQ(next[nacked].delivery.stored_ms, got[1].delivery.stored_ms);
	CHECK_EQ(next[1 - nacked].number, 3);
	CHECK_EQ(next[1 - nacked].delivery.attempt, 1);
	settle(reader, &next[1 - nacked], SETTLE_RELEASE, 0);
	settle(reader, &next[nacked], SETTLE_RELEASE, 0);
	reader_demand(reader, 1, 1 << 20); // now it is here, and comes before what is new
	take_all(reader, &again, 1);
	CHECK_EQ(again.number, 1);
	CHECK_EQ(again.delivery.attempt, 2); // a release does not count
	CHECK_EQ(again.delivery.offset, next[nacked].delivery.offset);
	settle(reader, &again, SETTLE_ACK, 0);
	reader_drop(&again, 1);
	reader_demand(reader, 2, 1 << 20);
	take_all(reader, &again, 1);
	CHECK_EQ(again.number, 3);
	CHECK_EQ(again.delivery.attempt, 1);
	expect_quiet(reader);
	reader_drop(&again, 1);
	reader_drop(next, 2);
	reader_drop(got, 3);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 3, 0, 0);
	models_end(topic, group);
}

// Closed before its copy was made: the broker has it as it was.
void a_reject_that_is_cut_off_has_not_ended(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got;

	bench_fill(bench, topic, 0, 0, 1);
	reader_demand(reader, 1, 1 << 20);
	take_all(reader, &got, 1);
	settle(reader, &got, SETTLE_REJECT, 0);
	expect_stale(reader, reader_receipt(&got, SETTLE_ACK, 0));
	reader_drop(&got, 1);
	expect_backlog(reader, 0, 1, 0, 0);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 1, 0, 0);
	bench_reopen(bench);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 2, 1 << 20);
	take_all(reader, &got, 1);
	CHECK(!got.delivery.rejected);
	CHECK_EQ(got.delivery.attempt, 1);
	expect_quiet(reader);
	reader_drop(&got, 1);
	reader_close(reader);
	models_end(topic, group);
}

void attempts_survive_in_the_copy(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	struct got got[2];

	bench_fill(bench, topic, 0, 0, 2);
	for (uint32_t attempt = 1; attempt <= 3; ++attempt) {
		struct reader *reader = reader_open(bench, topic, group);
		size_t nacked;

		reader_demand(reader, 3, 1 << 20);
		take_all(reader, got, 2);
		nacked = got[0].number == 0 ? 0 : 1;
		CHECK_EQ(got[nacked].number, 0);
		CHECK_EQ(got[nacked].delivery.attempt, attempt);
		CHECK_EQ(got[1 - nacked].number, 1);
		CHECK_EQ(got[1 - nacked].delivery.attempt, 1);
		reader_demand(reader, 0, 0);
		settle(reader, &got[nacked], SETTLE_NACK, 0);
		reader_drop(got, 2);
		reader_close(reader);
		expect_closed_backlog(bench, group, topic, 2, 0, 0);
		bench_reopen(bench);
	}
	models_end(topic, group);
}

// In one request: what is due in a minute must not be due before the last of them is nacked.
static void nack_all(struct reader *reader, const struct got *got, size_t count, uint32_t delay_ms)
{
	struct settle *entries = calloc(count, sizeof *entries);

	for (size_t i = 0; i < count; ++i) {
		CHECK_EQ(got[i].delivery.attempt, 1);
		entries[i] = reader_receipt(&got[i], SETTLE_NACK, delay_ms);
	}
	CHECK_EQ(reader_settle(reader, entries, count), CODE_OK);
	for (size_t i = 0; i < count; ++i)
		CHECK(entries[i].code == CODE_OK && entries[i].settled == 1);
	free(entries);
}

enum { COPIES = 400 };

// They wait, also where no source has them.
static void copies_wait(struct bench *bench, const struct topic *topic, const struct group *group,
			uint32_t delay_ms)
{
	struct reader *reader = reader_open(bench, topic, group);
	static struct got got[COPIES];

	bench_fill(bench, topic, 0, 0, COPIES);
	reader_demand(reader, COPIES, 1 << 20);
	take_all(reader, got, COPIES);
	nack_all(reader, got, COPIES, delay_ms);
	reader_drop(got, COPIES);
	expect_backlog(reader, 0, 0, COPIES, 0);
	reader_close(reader);
	expect_closed_waiting(bench, group, topic, COPIES, 0);
	bench_reopen(bench);
	expect_closed_waiting(bench, group, topic, COPIES, 0);
}

// They come at once, each once.
static void copies_come(struct bench *bench, const struct topic *topic, const struct group *group)
{
	struct reader *reader = reader_open(bench, topic, group);
	static struct got got[COPIES];
	bool seen[2 * COPIES] = {false};

	bench_fill(bench, topic, 0, COPIES, COPIES);
	reader_demand(reader, COPIES, 1 << 20);
	take_all(reader, got, COPIES);
	for (size_t i = 0; i < COPIES; ++i)
		CHECK(got[i].number >= COPIES);
	nack_all(reader, got, COPIES, 0);
	reader_drop(got, COPIES);
	expect_backlog(reader, COPIES, 0, COPIES, 0);
	reader_demand(reader, COPIES + 1, 1 << 20);
	take_all(reader, got, COPIES);
	expect_quiet(reader);
	for (size_t i = 0; i < COPIES; ++i) {
		CHECK_EQ(got[i].delivery.attempt, 2);
		CHECK(got[i].number >= COPIES && !seen[got[i].number]);
		seen[got[i].number] = true;
	}
	ack_all(reader, got, COPIES);
	expect_backlog(reader, 0, 0, COPIES, 0);
	reader_drop(got, COPIES);
	reader_close(reader);
	expect_closed_waiting(bench, group, topic, COPIES, 0);
}

// Within a minute they wait at the source. Beside those that come at once they wait for so long
// that a slow machine does not see them due.
void many_copies_keep_their_attempts(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_LATEST, 0);

	copies_wait(bench, topic, group, 50000);
	models_end(topic, group);
	topic = plain_topic(bench, 1);
	group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	copies_wait(bench, topic, group, 3600000);
	copies_come(bench, topic, group);
	models_end(topic, group);
}

// ---- a loss

// What was acknowledged has ended, what has failed keeps its attempt, and everything else comes
// again before what is new, under a new epoch and against the same demand.
void what_is_out_comes_again_after_a_loss(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got[10], again[8];

	bench_fill(bench, topic, 0, 0, 10);
	reader_demand(reader, 10, 1 << 20);
	take_all(reader, got, 10);
	settle(reader, &got[0], SETTLE_ACK, 0);
	settle(reader, &got[1], SETTLE_NACK, 3600 * 1000);
	settle(reader, &got[2], SETTLE_REJECT, 0); // its copy is not made
	CHECK_EQ(reader_losses(reader), 0);
	reader_demand(reader, 8, 1 << 20);
	queue_example_cut(bench->adapter);
	CHECK(reader_wait_state(reader, SOURCE_DOWN, SHORT_MS));
	CHECK_EQ(reader_losses(reader), 1);
	for (size_t i = 0; i < 10; ++i)
		expect_stale(reader, reader_receipt(&got[i], SETTLE_ACK, 0));
	bench_fill(bench, topic, 0, 10, 3);
	CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
	take_all(reader, again, 8);
	for (uint32_t i = 0; i < 8; ++i) {
		CHECK_EQ(again[i].number, i + 2);
		CHECK_EQ(again[i].delivery.attempt, 1);
		CHECK(!again[i].delivery.rejected);
		CHECK(again[i].delivery.epoch > got[i].delivery.epoch);
	}
	expect_quiet(reader);
	expect_backlog(reader, 3, 8, 1, 0);
	for (size_t i = 0; i < 10; ++i)
		expect_stale(reader, reader_receipt(&got[i], SETTLE_ACK, 0));
	ack_all(reader, again, 8);
	expect_backlog(reader, 3, 0, 1, 0);
	CHECK_EQ(reader_losses(reader), 1);
	reader_drop(got, 10);
	reader_drop(again, 8);
	reader_close(reader);
	models_end(topic, group);
}

// ---- a history

static json_t *move_back(struct bench *bench, const struct group *group, const struct topic *topic,
			 bool preview)
{
	return bench_reset(bench, group, topic, json_pack("{s:b}", "earliest", 1), preview, NULL);
}

static void expect_moved_back(struct bench *bench, const struct group *group,
			      const struct topic *topic, bool preview, json_int_t replayed)
{
	json_t *answer = move_back(bench, group, topic, preview);

	CHECK_EQ(sum_of(answer, "skipped"), 0);
	CHECK_EQ(sum_of(answer, "replayed"), replayed);
	json_decref(answer);
}

// Takes `count` messages, numbered from 0 on, each for the first time.
static void take_numbered(struct reader *reader, struct got *got, uint32_t count)
{
	reader_demand(reader, count, 1 << 20);
	take_all(reader, got, count);
	for (uint32_t i = 0; i < count; ++i) {
		CHECK_EQ(got[i].number, i);
		CHECK_EQ(got[i].delivery.attempt, 1);
		CHECK_EQ(got[i].delivery.partition, i < 20 ? 1 : 0);
	}
}

// Everything that the topic keeps comes again, before what is sent then, wherever it was: never
// consumed, waiting, acknowledged, or put aside.
void a_group_is_moved_back_in_its_history(struct bench *bench)
{
	enum { OLD = 25, ALL = 30 };
	const struct topic *topic = plain_topic(bench, 2);
	const struct group *group;
	struct got got[ALL], fresh[ALL - OLD];
	struct reader *reader;

	bench_fill(bench, topic, 1, 0, 10); // without a group
	group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	bench_fill(bench, topic, 1, 10, 10);
	bench_fill(bench, topic, 0, 20, 5);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 8, 1 << 20);
	take_all(reader, got, 8);
	ack_all(reader, got, 5);
	settle(reader, &got[5], SETTLE_NACK, 3600 * 1000);
	reader_drop(got, 8);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 9, 1, 0);
	expect_moved_back(bench, group, topic, true, OLD);
	expect_closed_backlog(bench, group, topic, 9, 1, 0); // a preview
	for (unsigned round = 0; round < 2; ++round) { // also what was not consumed of the first
		expect_moved_back(bench, group, topic, false, OLD);
		expect_closed_backlog(bench, group, topic, OLD, 0, 0);
	}
	bench_fill(bench, topic, 0, OLD, ALL - OLD);
	expect_closed_backlog(bench, group, topic, ALL, 0, 0);
	bench_reopen(bench);
	reader = reader_open(bench, topic, group);
	expect_backlog(reader, ALL, 0, 0, 0);
	take_numbered(reader, got, OLD);
	expect_backlog(reader, ALL - OLD, OLD, 0, 0);
	settle(reader, &got[3], SETTLE_RELEASE, 0);
	reader_demand(reader, 1, 1 << 20);
	take_all(reader, got + OLD, 1);
	CHECK_EQ(got[OLD].number, 3);
	reader_demand(reader, ALL - OLD + 1, 1 << 20);
	take_all(reader, fresh, ALL - OLD); // while all the others are in flight
	for (uint32_t i = 0; i < ALL - OLD; ++i)
		CHECK_EQ(fresh[i].number, OLD + i);
	expect_quiet(reader);
	expect_backlog(reader, 0, ALL, 0, 0);
	ack_all(reader, got, 3);
	ack_all(reader, fresh, ALL - OLD);
	ack_all(reader, got + 4, OLD - 4);
	settle(reader, &got[OLD], SETTLE_ACK, 0);
	CHECK_EQ(reader_losses(reader), 0);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_drop(got, OLD + 1);
	reader_drop(fresh, ALL - OLD);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
	models_end(topic, group);
}

// What comes again can be given up as what waits.
void what_comes_again_can_be_given_up(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group;
	json_t *answer;

	bench_fill(bench, topic, 0, 0, 7);
	group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	CHECK_EQ(bench_group_create(bench, group, topic), CODE_OK); // begins once
	expect_closed_backlog(bench, group, topic, 7, 0, 0);
	answer = bench_reset(bench, group, topic, json_pack("{s:b}", "latest", 1), false, NULL);
	CHECK_EQ(sum_of(answer, "skipped"), 7);
	json_decref(answer);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
	json_decref(move_back(bench, group, topic, false));
	expect_closed_backlog(bench, group, topic, 7, 0, 0);
	json_decref(bench_purge(bench, topic, false, NULL));
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
	expect_moved_back(bench, group, topic, false, 0); // nothing is kept any more
	bench_fill(bench, topic, 0, 7, 2);
	expect_moved_back(bench, group, topic, false, 2);
	CHECK_EQ(bench_group_delete(bench, group, topic), CODE_OK);
	CHECK_EQ(bench_group_create(bench, group, topic), CODE_OK);
	expect_closed_backlog(bench, group, topic, 2, 0, 0);
	models_end(topic, group);
}

struct sending {
	struct bench *bench;
	const struct topic *topic;
	uint32_t sent;
	bool stop; // atomic
};

static void *send_on(void *ctx)
{
	struct sending *sending = ctx;

	while (!__atomic_load_n(&sending->stop, __ATOMIC_ACQUIRE))
		bench_fill(sending->bench, sending->topic, 0, sending->sent++, 1);
	return NULL;
}

// Whatever is sent while a group is moved back is there, and the last of all comes last.
void what_is_sent_meanwhile_is_there(struct bench *bench)
{
	enum { ROUNDS = 5, MOST = 100000 };
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	struct sending sending = {.bench = bench, .topic = topic};
	bool *seen = calloc(MOST, sizeof *seen);
	uint32_t left, last = 0;
	struct reader *reader;
	pthread_t thread;
	struct got got;

	CHECK(seen);
	bench_fill(bench, topic, 0, 0, 500);
	sending.sent = 500;
	CHECK_EQ(pthread_create(&thread, NULL, send_on, &sending), 0);
	for (unsigned round = 0; round < ROUNDS; ++round)
		json_decref(move_back(bench, group, topic, false));
	__atomic_store_n(&sending.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	CHECK(sending.sent > 500 && sending.sent < MOST);
	reader = reader_open(bench, topic, group);
	for (left = sending.sent; left;) {
		reader_demand(reader, 1, 1 << 20);
		take_all(reader, &got, 1);
		CHECK(got.number < sending.sent);
		left -= !seen[got.number];
		seen[got.number] = true;
		last = got.number;
		reader_settle_soon(reader, (struct settle[]){reader_receipt(&got, SETTLE_ACK, 0)},
				   1);
		reader_drop(&got, 1);
	}
	CHECK_EQ(last, sending.sent - 1);
	reader_close(reader);
	free(seen);
	models_end(topic, group);
}
