// One function a promise. Each gets a bench with a fresh backend and its own topics; what a backend
// cannot do is said by the capabilities beside the case, never skipped in silence.

#include "tests/contract/cases.h"

#include "core/base/clock.h"
#include "core/wire/record.h"
#include "tests/contract/faults.h"
#include "tests/contract/native.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SHORT_MS 5000 // for what must come
#define QUIET_MS 60   // for what must not

static const struct topic *plain_topic(struct bench *bench, uint32_t partitions)
{
	struct topic_wish wish = {.partitions = partitions};

	return bench_topic(bench, &wish);
}

static void models_end(const struct topic *topic, const struct group *group)
{
	model_unref(topic);
	model_unref(group);
}

static void take_all(struct reader *reader, struct got *got, size_t count)
{
	CHECK_EQ(reader_take(reader, got, count, SHORT_MS), count);
}

static void expect_quiet(struct reader *reader)
{
	struct got got;

	CHECK_EQ(reader_take(reader, &got, 1, QUIET_MS), 0);
}

// Settles one delivery and expects it to have been open.
static void settle(struct reader *reader, const struct got *got, enum settle_verb verb,
		   uint32_t delay_ms)
{
	struct settle entry = reader_receipt(got, verb, delay_ms);

	CHECK_EQ(reader_settle(reader, &entry, 1), CODE_OK);
	CHECK_EQ(entry.settled, 1);
	CHECK_EQ(entry.code, CODE_OK);
}

static void ack_all(struct reader *reader, const struct got *got, size_t count)
{
	struct settle *entries = calloc(count, sizeof *entries);

	for (size_t i = 0; i < count; ++i)
		entries[i] = reader_receipt(&got[i], SETTLE_ACK, 0);
	CHECK_EQ(reader_settle(reader, entries, count), CODE_OK);
	for (size_t i = 0; i < count; ++i)
		CHECK_EQ(entries[i].settled, 1);
	free(entries);
}

static void expect_backlog(struct reader *reader, uint64_t ready, uint64_t in_flight,
			   uint64_t retrying, uint64_t delayed)
{
	struct source_partition row;

	reader_backlog(reader, &row, 1);
	CHECK_EQ(row.ready, ready);
	CHECK_EQ(row.in_flight, in_flight);
	CHECK_EQ(row.retrying, retrying);
	CHECK_EQ(row.delayed, delayed);
}

static json_int_t sum_of(const json_t *answer, const char *member)
{
	const json_t *row;
	json_int_t sum = 0;
	size_t i;

	json_array_foreach(json_object_get(answer, "partitions"), i, row) sum +=
		json_integer_value(json_object_get(row, member));
	return sum;
}

static void expect_closed_backlog(struct bench *bench, const struct group *group,
				  const struct topic *topic, json_int_t ready, json_int_t retrying,
				  json_int_t delayed)
{
	json_t *answer = bench_backlog(bench, group, topic, NULL);

	CHECK_EQ(sum_of(answer, "ready"), ready);
	CHECK_EQ(sum_of(answer, "in_flight"), 0);
	CHECK_EQ(sum_of(answer, "retrying"), retrying);
	CHECK_EQ(sum_of(answer, "delayed"), delayed);
	json_decref(answer);
}

// ---- sending

static void probe_says_what_it_is(struct bench *bench)
{
	json_t *answer = bench_probe(bench, NULL);
	bool consumes = bench->capabilities & CAP_CONSUME;

	CHECK(json_is_true(json_object_get(answer, "reachable")));
	CHECK(json_is_string(json_object_get(answer, "version")));
	CHECK(json_is_string(json_object_get(answer, "durability")));
	CHECK(json_is_string(json_object_get(answer, "durability_reason")));
	CHECK_EQ(json_is_true(json_object_get(json_object_get(answer, "capabilities"), "consume")),
		 consumes);
	json_decref(answer);
}

static void an_ok_names_the_position(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 3);
	struct message messages[30];
	struct sent sent;

	for (uint32_t i = 0; i < 30; ++i)
		messages[i] = (struct message){.partition = i / 10, .number = i, .body = TEXT("x")};
	for (unsigned round = 0; round < 2; ++round) {
		bench_send(bench, topic, messages, 30, &sent);
		CHECK_EQ(sent.run_count, 3);
		for (uint32_t i = 0; i < 3; ++i) {
			CHECK_EQ(sent.runs[i].outcome, OUTCOME_OK);
			CHECK_EQ(sent.runs[i].code, CODE_OK);
			CHECK_EQ(sent.runs[i].count, 10);
			CHECK_EQ(sent.runs[i].partition, i);
			if (bench->capabilities & CAP_CONSUME)
				CHECK_EQ(sent.runs[i].offset, 10 * round);
			if (bench->capabilities & (CAP_D1 | CAP_D2))
				CHECK_EQ(sent.runs[i].durability, bench->durability);
			else
				CHECK_EQ(sent.runs[i].durability, DURABILITY_D0);
		}
	}
	model_unref(topic);
}

static void mixed_partitions_keep_their_order(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 3);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct message messages[60];
	struct got got[240];
	uint32_t next[3] = {0, 1, 2};
	struct sent sent;

	for (uint32_t batch = 0; batch < 4; ++batch) {
		for (uint32_t i = 0; i < 60; ++i)
			messages[i] = (struct message){
				.partition = i % 3, .number = 60 * batch + i, .body = TEXT("x")};
		bench_send(bench, topic, messages, 60, &sent);
	}
	reader_demand(reader, 1000, 1 << 20);
	take_all(reader, got, 240);
	for (size_t i = 0; i < 240; ++i) {
		uint32_t partition = got[i].delivery.partition;

		CHECK_EQ(got[i].number, next[partition]);
		CHECK_EQ(got[i].delivery.offset, next[partition] / 3);
		next[partition] += 3;
	}
	ack_all(reader, got, 240);
	reader_drop(got, 240);
	reader_close(reader);
	models_end(topic, group);
}

static void expect_same(struct slice is, struct slice should)
{
	CHECK_EQ(is.data != NULL, should.data != NULL);
	CHECK_EQ(is.size, should.size);
	CHECK(should.size == 0 || memcmp(is.data, should.data, should.size) == 0);
}

static void every_body_and_key_comes_back(struct bench *bench)
{
	static const uint8_t binary[] = {0, 255, 10, 0, 13, 128};
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	size_t big_size = 4u << 20;
	uint8_t *big = malloc(big_size);
	struct got got[6];

	memset(big, 0xa5, big_size);
	struct message messages[] = {
		{.number = 0},
		{.number = 1, .key = {binary, 0}, .body = {binary, 0}},
		{.number = 2, .key = {binary, sizeof binary}, .body = {binary, sizeof binary}},
		{.number = 3, .body = {big, big_size}},
		{.number = 4, .key = TEXT("订单"), .tag = "标签", .header = "заголовок"},
		{.number = 5, .key = {big, 65536}, .body = TEXT("after the big one")},
	};
	bench_send_ok(bench, topic, messages, 6);
	reader_demand(reader, 6, 64 << 20);
	take_all(reader, got, 6);
	for (uint32_t i = 0; i < 6; ++i) {
		struct record_view view;
		struct record_header header;
		size_t cursor = 0;

		CHECK_EQ(got[i].number, i);
		record_read(got[i].delivery.record, &view);
		expect_same(view.key, messages[i].key);
		expect_same(view.body, messages[i].body);
		if (!messages[i].tag)
			continue;
		expect_same(view.tag, TEXT(messages[i].tag));
		CHECK(record_header_next(&view, &cursor, &header));
		expect_same(header.name, TEXT(messages[i].header));
		expect_same(header.value, TEXT(messages[i].header));
	}
	reader_drop(got, 6);
	reader_close(reader);
	free(big);
	models_end(topic, group);
}

static void names_may_be_unicode(struct bench *bench)
{
	struct topic_wish wish = {.name = "заказы-订单-طلبات"};
	const struct topic *topic = bench_topic(bench, &wish);
	struct message message = {.body = TEXT("x")};

	bench_send_ok(bench, topic, &message, 1);
	model_unref(topic);
}

static void creating_is_idempotent(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 2);
	const struct topic *fewer = bench_topic_like(topic, 1, 1),
			   *other = bench_topic_like(topic, 2, 2);

	CHECK_EQ(bench_topic_create(bench, topic), CODE_OK);
	CHECK_EQ(bench_topic_create(bench, fewer), CODE_CONFLICT);
	CHECK_EQ(bench_topic_create(bench, other), CODE_CONFLICT);
	CHECK_EQ(bench_topic_delete(bench, topic), CODE_OK);
	CHECK_EQ(bench_topic_delete(bench, topic), CODE_OK);
	CHECK_EQ(bench_topic_create(bench, other), CODE_OK);
	CHECK(!bench->ops->topic_open(bench->adapter, topic)); // the life before
	model_unref(topic);
	model_unref(fewer);
	model_unref(other);
}

static void a_topic_can_grow(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1), *larger = bench_topic_like(topic, 1, 3);
	const struct group *group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	struct adapter_topic *held = bench->ops->topic_open(bench->adapter, topic);
	struct message messages[] = {{.number = 0, .body = TEXT("x")},
				     {.partition = 2, .number = 1, .body = TEXT("x")}};
	struct sent sent;
	struct reader *reader;
	struct got got[2];

	bench_send(bench, topic, &messages[1], 1, &sent);
	CHECK_EQ(sent.runs[0].outcome, OUTCOME_REJECTED); // not there yet
	CHECK_EQ(sent.runs[0].code, CODE_NOT_READY);
	CHECK_EQ(bench_topic_create(bench, larger), CODE_OK);
	bench_send_ok(bench, larger, messages, 2);
	bench_send_ok(bench, larger, &messages[1], 1);
	reader = reader_open(bench, larger, group);
	reader_demand(reader, 10, 1 << 20);
	take_all(reader, got, 2);
	reader_drop(got, 2);
	take_all(reader, got, 1);
	reader_drop(got, 1);
	reader_close(reader);
	bench->ops->topic_close(held);
	model_unref(larger);
	models_end(topic, group);
}

// Who just opened the backend may have to ask it: then nobody is told that it was stored.
static void expect_not_there(struct bench *bench, const struct topic *topic,
			     const struct group *group)
{
	struct adapter_topic *held = bench->ops->topic_open(bench->adapter, topic);
	struct message message = {.body = TEXT("x")};
	struct reader *reader;
	struct sent sent;

	if (!held)
		return;
	reader = reader_open(bench, topic, group);
	bench_send(bench, topic, &message, 1, &sent);
	CHECK_EQ(sent.runs[0].outcome, OUTCOME_REJECTED);
	CHECK_STR(code_name(sent.runs[0].code), "NOT_FOUND");
	CHECK(reader_wait_state(reader, SOURCE_GONE, SHORT_MS));
	reader_close(reader);
	bench->ops->topic_close(held);
}

static void a_deleted_topic_answers_not_found(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct adapter_topic *held = bench->ops->topic_open(bench->adapter, topic);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got;

	bench_fill(bench, topic, 0, 0, 5000);
	reader_demand(reader, 1, 1000);
	take_all(reader, &got, 1);
	CHECK_EQ(bench_topic_delete(bench, topic), CODE_OK);
	CHECK(reader_wait_state(reader, SOURCE_GONE, SHORT_MS));
	CHECK(!bench->ops->topic_open(bench->adapter, topic));
	reader_drop(&got, 1);
	reader_close(reader);
	bench->ops->topic_close(held);
	bench_reopen(bench);
	expect_not_there(bench, topic, group);
	models_end(topic, group);
}

// ---- consuming

static void demand_is_never_exceeded(struct bench *bench)
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

static void followers_of_the_end_are_told(struct bench *bench)
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

static void each_group_gets_everything(struct bench *bench)
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

static void start_positions(struct bench *bench)
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

static void a_nack_comes_again_with_its_attempt(struct bench *bench)
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

static void a_delayed_nack_waits(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	uint64_t began_ns;
	struct got got, again;

	bench_fill(bench, topic, 0, 0, 1);
	reader_demand(reader, 10, 1 << 20);
	take_all(reader, &got, 1);
	began_ns = clock_now_ns();
	settle(reader, &got, SETTLE_NACK, 300);
	expect_backlog(reader, 0, 0, 1, 0);
	take_all(reader, &again, 1);
	CHECK(clock_now_ns() - began_ns >= 290 * MS_NS);
	CHECK(clock_now_ns() - began_ns < 3000 * MS_NS);
	CHECK_EQ(again.delivery.attempt, 2);
	expect_backlog(reader, 0, 1, 0, 0);
	settle(reader, &again, SETTLE_ACK, 0);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_drop(&got, 1);
	reader_drop(&again, 1);
	reader_close(reader);
	models_end(topic, group);
}

static void expect_stale(struct reader *reader, struct settle entry)
{
	CHECK_EQ(reader_settle(reader, &entry, 1), CODE_OK);
	CHECK_EQ(entry.code, CODE_STALE);
	CHECK_EQ(entry.settled, 0);
}

static void old_receipts_are_stale(struct bench *bench)
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

static void runs_of_receipts_settle_together(struct bench *bench)
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

static void what_was_unsettled_comes_again(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct settle entries[5];
	struct got got[10];

	bench_fill(bench, topic, 0, 0, 10);
	reader_demand(reader, 10, 1 << 20);
	take_all(reader, got, 10);
	for (uint32_t i = 0; i < 5; ++i)
		entries[i] = reader_receipt(&got[2 * i], SETTLE_ACK, 0);
	reader_settle_soon(reader, entries, 5); // closing makes it durable
	reader_drop(got, 10);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 5, 0, 0);
	bench_reopen(bench);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 10, 1 << 20);
	take_all(reader, got, 5);
	for (uint32_t i = 0; i < 5; ++i) {
		CHECK_EQ(got[i].number, 2 * i + 1);
		CHECK_EQ(got[i].delivery.attempt, 1);
	}
	expect_quiet(reader);
	reader_drop(got, 5);
	reader_close(reader);
	models_end(topic, group);
}

static void attempts_survive(struct bench *bench)
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
static void rejected_come_once_more_by_themselves(struct bench *bench)
{
	enum { COUNT = 400, NEW = 100 };
	const struct topic *topic = plain_topic(bench, 2);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct source_partition rows[2];
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
	reader_backlog(reader, rows, 2);
	CHECK_EQ(rows[0].in_flight, COUNT);
	CHECK_EQ(rows[0].retrying + rows[0].ready, 0);
	CHECK_EQ(rows[1].in_flight, 0);
	CHECK_EQ(rows[1].ready, NEW);
	ack_all(reader, got, COUNT);
	reader_backlog(reader, rows, 2);
	CHECK_EQ(rows[0].in_flight, 0);
	CHECK_EQ(rows[0].committed, COUNT);
	reader_drop(got, COUNT);
	reader_close(reader);
	models_end(topic, group);
}

// Closed before its copy was made: it comes as any other, with one more attempt.
static void a_reject_that_is_cut_off_comes_again(struct bench *bench)
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
static void many_nacks_keep_their_attempts(struct bench *bench)
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

static void attempts_have_no_end(struct bench *bench)
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

static void a_long_nack_survives_outside_the_window(struct bench *bench)
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
	CHECK_EQ(row.committed, 10); // it does not hold the head
	CHECK_EQ(row.retrying, 1);
	expect_stale(reader, reader_receipt(&got[0], SETTLE_ACK, 0));
	reader_drop(got, 10);
	reader_close(reader);
	bench_reopen(bench);
	expect_closed_backlog(bench, group, topic, 0, 1, 0);
	CHECK_EQ(bench_group_delete(bench, group, topic), CODE_OK);
	models_end(topic, group);
}

static void the_window_has_a_bound(struct bench *bench)
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
	CHECK(row.window_full);
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

// ---- due times and time to live

// Opening is not part of what is timed.
static int64_t ready_now_ms(struct reader *reader)
{
	CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
	return clock_wall_ms();
}

static void a_due_message_waits(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	int64_t now_ms = ready_now_ms(reader);
	struct message messages[] = {
		{.number = 0, .body = TEXT("a"), .due_ms = now_ms + 2000},
		{.number = 1, .body = TEXT("b")},
		{.number = 2, .body = TEXT("c"), .due_ms = now_ms + 1500},
		{.number = 3, .body = TEXT("d"), .due_ms = now_ms - 1000},
	};
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
	expect_closed_backlog(bench, group, topic, 0, 0, 2);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 10, 1 << 20);
	take_all(reader, got, 2);
	CHECK(clock_wall_ms() >= now_ms + 2000);
	CHECK_EQ(got[0].number, 2);
	CHECK_EQ(got[1].number, 0);
	CHECK_EQ(got[0].delivery.offset, 2);
	CHECK_EQ(got[0].delivery.attempt, 1);
	settle(reader, &got[0], SETTLE_NACK, 0);
	settle(reader, &got[1], SETTLE_ACK, 0);
	reader_drop(got, 2);
	take_all(reader, got, 1);
	CHECK_EQ(got[0].number, 2);
	CHECK_EQ(got[0].delivery.attempt, 2);
	expect_stale(reader, (struct settle){.epoch = got[0].delivery.epoch,
					     .offset = 2,
					     .count = 1,
					     .attempt = 1,
					     .verb = SETTLE_ACK});
	settle(reader, &got[0], SETTLE_ACK, 0);
	reader_drop(got, 1);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_close(reader);
	bench_reopen(bench);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
	models_end(topic, group);
}

static void many_due_messages_all_come(struct bench *bench)
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

static void what_has_expired_is_dropped_and_counted(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	int64_t now_ms = ready_now_ms(reader);
	struct message messages[] = {
		{.number = 0, .body = TEXT("a"), .created_ms = now_ms - 1000, .ttl_ms = 500},
		{.number = 1, .body = TEXT("b"), .created_ms = now_ms, .ttl_ms = 600000},
		// Time to live counts from the due time.
		{.number = 2,
		 .body = TEXT("c"),
		 .created_ms = now_ms - 9000,
		 .ttl_ms = 60000,
		 .due_ms = now_ms - 10},
		{.number = 3, .body = TEXT("d"), .created_ms = now_ms, .ttl_ms = 1500},
	};
	struct source_partition row;
	struct got got[3];

	bench_send_ok(bench, topic, messages, 4);
	reader_demand(reader, 3, 1 << 20);
	take_all(reader, got, 3);
	CHECK_EQ(got[0].number, 1);
	CHECK_EQ(got[1].number, 2);
	CHECK_EQ(got[2].number, 3);
	settle(reader, &got[2], SETTLE_NACK, 1600); // expires while it waits
	reader_demand(reader, 3, 1 << 20);
	usleep(2000 * 1000);
	expect_quiet(reader);
	reader_backlog(reader, &row, 1);
	CHECK_EQ(row.expired, 2);
	CHECK_EQ(row.in_flight, 2);
	CHECK_EQ(row.ready + row.retrying + row.delayed, 0);
	reader_drop(got, 3);
	reader_close(reader);
	models_end(topic, group);
}

// ---- backlog

struct ledger {
	uint32_t sent, acked;
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

static void ledger_check(struct reader *reader, const struct ledger *ledger)
{
	struct source_partition row;

	reader_backlog(reader, &row, 1);
	CHECK_EQ(row.in_flight, ledger->open_count);
	CHECK_EQ(row.ready + row.in_flight + row.retrying + row.delayed,
		 ledger->sent - ledger->acked);
	CHECK_EQ(row.end, ledger->sent);
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

static void the_backlog_adds_up_at_every_step(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_wall_ms();
	struct ledger ledger = {0};

	fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
	CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
	for (unsigned step = 0; step < 1200; ++step) {
		ledger_step(bench, topic, reader, &ledger, &seed);
		ledger_check(reader, &ledger);
		if (step % 300 != 299)
			continue;
		reader_drop(ledger.open, ledger.open_count);
		ledger.open_count = 0;
		reader_close(reader);
		if (step % 600 == 599)
			bench_reopen(bench);
		reader = reader_open(bench, topic, group);
		CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
		ledger_check(reader, &ledger);
	}
	reader_drop(ledger.open, ledger.open_count);
	reader_close(reader);
	models_end(topic, group);
}

// ---- moving

static void a_group_can_be_moved(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 2);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	json_t *answer;
	struct got got[20];
	uint64_t epoch;
	enum code code;

	bench_fill(bench, topic, 0, 0, 10);
	bench_fill(bench, topic, 1, 10, 10);
	reader_demand(reader, 20, 1 << 20);
	take_all(reader, got, 20);
	epoch = got[0].delivery.epoch;
	ack_all(reader, got, 12);
	settle(reader, &got[12], SETTLE_NACK, 3600 * 1000); // waits in the retry store
	reader_drop(got, 20);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 7, 1, 0);

	answer = bench_reset(bench, group, topic, json_pack("{s:b}", "latest", 1), true, NULL);
	CHECK_EQ(sum_of(answer, "skipped"), 8);
	json_decref(answer);
	expect_closed_backlog(bench, group, topic, 7, 1, 0); // a preview
	answer = bench_reset(bench, group, topic, json_pack("{s:b}", "latest", 1), false, NULL);
	CHECK_EQ(sum_of(answer, "skipped"), 8);
	CHECK_EQ(sum_of(answer, "replayed"), 0);
	json_decref(answer);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);

	answer = bench_reset(bench, group, topic,
			     json_pack("{s:[{s:i,s:i}]}", "positions", "partition", 1, "offset", 7),
			     false, NULL);
	CHECK_EQ(sum_of(answer, "replayed"), 3);
	json_decref(answer);
	expect_closed_backlog(bench, group, topic, 3, 0, 0);
	answer = bench_reset(bench, group, topic, json_pack("{s:b}", "earliest", 1), false, NULL);
	CHECK_EQ(sum_of(answer, "replayed"), 17);
	json_decref(answer);
	expect_closed_backlog(bench, group, topic, 20, 0, 0);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 20, 1 << 20);
	take_all(reader, got, 20);
	CHECK(got[0].delivery.epoch > epoch); // never one that was used
	reader_drop(got, 20);
	reader_close(reader);

	bench_reset(bench, group, topic, json_pack("{s:i}", "nowhere", 1), false, &code);
	CHECK_EQ(code, CODE_BAD_REQUEST);
	models_end(topic, group);
}

static void a_group_can_be_moved_to_a_time(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	int64_t times[4];

	for (uint32_t i = 0; i < 4; ++i) {
		times[i] = clock_wall_ms();
		bench_fill(bench, topic, 0, 10 * i, 10);
		usleep(4000);
	}
	for (uint32_t i = 0; i < 4; ++i) {
		json_decref(bench_reset(bench, group, topic,
					json_pack("{s:I}", "time_ms", (json_int_t)times[i]), false,
					NULL));
		expect_closed_backlog(bench, group, topic, 40 - 10 * (json_int_t)i, 0, 0);
	}
	models_end(topic, group);
}

static void groups_come_and_go(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader;
	enum code code;

	CHECK_EQ(bench_group_create(bench, group, topic), CODE_OK);
	CHECK_EQ(bench_group_delete(bench, group, topic), CODE_OK);
	CHECK_EQ(bench_group_delete(bench, group, topic), CODE_OK);
	bench_backlog(bench, group, topic, &code);
	CHECK_EQ(code, CODE_NOT_FOUND);
	reader = reader_open(bench, topic, group);
	CHECK(reader_wait_state(reader, SOURCE_GONE, SHORT_MS));
	reader_close(reader);
	CHECK_EQ(bench_group_create(bench, group, topic), CODE_OK);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
	models_end(topic, group);
}

static void a_topic_can_be_purged(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 2);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got[5];
	json_t *answer;

	for (uint32_t i = 0; i < 2000; ++i) { // a chunk each
		struct message message = {.partition = i % 2, .number = i, .body = TEXT("x")};

		bench_send_ok(bench, topic, &message, 1);
	}
	reader_demand(reader, 5, 1 << 20);
	take_all(reader, got, 5);
	answer = bench_purge(bench, topic, true, NULL);
	CHECK_EQ(json_integer_value(json_object_get(answer, "messages")), 2000);
	json_decref(answer);
	answer = bench_purge(bench, topic, false, NULL);
	CHECK_EQ(json_integer_value(json_object_get(answer, "messages")), 2000);
	json_decref(answer);
	answer = bench_describe(bench, topic, NULL);
	CHECK_EQ(sum_of(answer, "first"), 2000);
	CHECK_EQ(sum_of(answer, "end"), 2000);
	CHECK_EQ(sum_of(answer, "bytes"), 0);
	json_decref(answer);
	ack_all(reader, got, 5); // they were in flight: still good
	reader_drop(got, 5);
	bench_fill(bench, topic, 1, 5000, 1);
	reader_demand(reader, 5, 1 << 20);
	take_all(reader, got, 1);
	CHECK_EQ(got[0].number, 5000);
	CHECK_EQ(got[0].delivery.offset, 1000); // positions go on
	ack_all(reader, got, 1);
	reader_drop(got, 1);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
	models_end(topic, group);
}

// ---- history

static void messages_can_be_queried(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	struct message message = {
		.number = 7, .key = TEXT("k"), .body = TEXT("body"), .header = "h", .tag = "t"};
	json_t *answer, *row;
	int64_t now_ms;
	enum code code;

	bench_fill(bench, topic, 0, 0, 10);
	usleep(3000);
	now_ms = clock_wall_ms();
	bench_send_ok(bench, topic, &message, 1);
	answer = bench_read(bench, topic,
			    json_pack("{s:i,s:i,s:i,s:b}", "partition", 0, "offset", 4, "limit", 3,
				      "bodies", 0),
			    NULL);
	CHECK_EQ(json_array_size(json_object_get(answer, "messages")), 3);
	CHECK_EQ(json_integer_value(json_object_get(answer, "next")), 7);
	row = json_array_get(json_object_get(answer, "messages"), 0);
	CHECK_EQ(json_integer_value(json_object_get(row, "offset")), 4);
	CHECK(json_is_null(json_object_get(row, "body")));
	CHECK_EQ(json_integer_value(json_object_get(row, "size")), 6);
	json_decref(answer);

	answer = bench_read(bench, topic,
			    json_pack("{s:i,s:I,s:i,s:b}", "partition", 0, "time_ms",
				      (json_int_t)now_ms, "limit", 100, "bodies", 1),
			    NULL);
	CHECK_EQ(json_array_size(json_object_get(answer, "messages")), 1);
	CHECK(json_is_null(json_object_get(answer, "next")));
	row = json_array_get(json_object_get(answer, "messages"), 0);
	CHECK_EQ(json_integer_value(json_object_get(row, "offset")), 10);
	CHECK_STR(json_string_value(json_object_get(row, "body")), "Ym9keQ==");
	CHECK_STR(json_string_value(json_object_get(row, "tag")), "t");
	json_decref(answer);

	bench_read(bench, topic, json_pack("{s:i,s:i}", "partition", 9, "offset", 0), &code);
	CHECK_EQ(code, CODE_BAD_REQUEST);
	answer = bench_read(bench, topic,
			    json_pack("{s:i,s:i,s:i}", "partition", 0, "offset", 99, "limit", 5),
			    NULL);
	CHECK_EQ(json_array_size(json_object_get(answer, "messages")), 0);
	json_decref(answer);
	model_unref(topic);
}

// Waits until retention has left no more than so many messages; how many it left.
static json_int_t wait_for_kept(struct bench *bench, const struct topic *topic, json_int_t most,
				bool *ret_exact)
{
	json_int_t kept = INT64_MAX;

	for (unsigned i = 0; i < 400 && kept > most; ++i) {
		json_t *answer = bench_describe(bench, topic, NULL);
		const json_t *row = json_array_get(json_object_get(answer, "partitions"), 0);

		kept = sum_of(answer, "end") - sum_of(answer, "first");
		*ret_exact = json_is_integer(json_object_get(row, "bytes"));
		json_decref(answer);
		usleep(20000);
	}
	CHECK(kept <= most);
	return kept;
}

// Who cannot say how many bytes there are deletes in pieces of a mebibyte or more: two of them a
// partition may be there beside what was asked for.
static void retention_by_size(struct bench *bench)
{
	enum { COUNT = 12000, BATCH = 50, KEPT = 400 << 10, SIZE = 1000 };
	struct topic_wish wish = {.partitions = 2, .retention_bytes = KEPT};
	const struct topic *topic = bench_topic(bench, &wish);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	static uint8_t body[SIZE];
	struct message messages[BATCH];
	struct source_partition rows[2];
	json_int_t kept;
	bool exact;

	CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
	for (uint32_t i = 0; i < COUNT; ++i) {
		messages[i % BATCH] = (struct message){
			.partition = i / BATCH % 2, .number = i, .body = {body, sizeof body}};
		if (i % BATCH == BATCH - 1)
			bench_send_ok(bench, topic, messages, BATCH);
	}
	kept = wait_for_kept(bench, topic, (KEPT + (4 << 20)) / SIZE, &exact);
	CHECK(kept >= (200 << 10) / SIZE); // batches go as a whole
	if (exact)
		wait_for_kept(bench, topic, KEPT / SIZE, &exact);
	usleep(1500 * 1000);             // a source may hear of it with its next look
	reader_backlog(reader, rows, 2); // what is gone is no backlog
	CHECK_EQ(rows[0].ready + rows[1].ready, COUNT - rows[0].first - rows[1].first);
	CHECK(rows[0].first > 0 && rows[1].first > 0);
	reader_close(reader);
	models_end(topic, group);
}

static void retention_by_age(struct bench *bench)
{
	struct topic_wish wish = {.retention_ms = 1000};
	const struct topic *topic = bench_topic(bench, &wish);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	bool exact;
	struct got got[2];

	bench_fill(bench, topic, 0, 0, 10);
	reader_demand(reader, 2, 1 << 20);
	take_all(reader, got, 2);
	CHECK_EQ(wait_for_kept(bench, topic, 0, &exact), 0);
	settle(reader, &got[0], SETTLE_ACK, 0);
	settle(reader, &got[1], SETTLE_NACK, 0); // it is nowhere any more: gone
	reader_drop(got, 2);
	bench_fill(bench, topic, 0, 10, 1);
	reader_demand(reader, 2, 1 << 20);
	take_all(reader, got, 1);
	CHECK_EQ(got[0].number, 10);
	ack_all(reader, got, 1);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_drop(got, 1);
	reader_close(reader);
	models_end(topic, group);
}

static void retention_can_change(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1), *changed = bench_topic_kept(topic, 1000);
	json_t *answer;
	bool exact;

	bench_fill(bench, topic, 0, 0, 10);
	usleep(1500 * 1000);
	answer = bench_describe(bench, topic, NULL);
	CHECK_EQ(sum_of(answer, "first"), 0);
	json_decref(answer);
	CHECK_EQ(bench_topic_create(bench, changed), CODE_OK);
	CHECK_EQ(wait_for_kept(bench, changed, 0, &exact), 0);
	CHECK_EQ(bench_topic_create(bench, topic), CODE_OK);
	bench_fill(bench, topic, 0, 10, 3);
	answer = bench_describe(bench, topic, NULL);
	CHECK_EQ(sum_of(answer, "end") - sum_of(answer, "first"), 3);
	json_decref(answer);
	model_unref(changed);
	models_end(topic, NULL);
}

// ---- restarts and kills

static void stored_messages_survive(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 2);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct message message = {.partition = 1, .number = 100, .body = TEXT("x")};
	json_t *answer;

	bench_fill(bench, topic, 1, 0, 100);
	bench_reopen(bench);
	answer = bench_describe(bench, topic, NULL);
	CHECK_EQ(sum_of(answer, "end"), 100);
	json_decref(answer);
	CHECK_EQ(bench_send_ok(bench, topic, &message, 1), 100); // positions go on
	expect_closed_backlog(bench, group, topic, 101, 0, 0);
	models_end(topic, group);
}

void contract_live_and_be_killed(const char *kind, enum durability durability, const char *dir,
				 int fd)
{
	struct bench bench;
	const struct topic *topic;
	const struct group *group;
	struct reader *reader;
	static struct got got[1000];
	struct settle entry;

	bench_open(&bench, kind, durability, dir, "");
	topic = plain_topic(&bench, 1);
	group = bench_group(&bench, topic, GROUP_START_EARLIEST, 0);
	bench_fill(&bench, topic, 0, 0, 1000);
	reader = reader_open(&bench, topic, group);
	reader_demand(reader, 1000, 1 << 30);
	take_all(reader, got, 1000);
	for (uint32_t i = 1; i < 1000; i += 2) {
		entry = reader_receipt(&got[i], SETTLE_ACK, 0);
		reader_settle_soon(reader, &entry, 1);
	}
	settle(reader, &got[0], SETTLE_NACK, 3600 * 1000);
	settle(reader, &got[2], SETTLE_NACK, 0);
	if (write(fd, "x", 1) == 1)
		pause();
	_exit(1);
}

static void only_the_unacked_comes_after_a_kill(struct bench *bench)
{
	char dir[120], fd[12], byte;
	struct bench after;
	int ends[2], status;
	pid_t child;
	const struct topic *topic;
	const struct group *group;
	struct reader *reader;
	struct got got;

	snprintf(dir, sizeof dir, "%s/killed", bench->dir);
	CHECK_EQ(mkdir(dir, 0700), 0);
	CHECK_EQ(pipe(ends), 0);
	bench_leave(bench); // whose directory it is
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		snprintf(fd, sizeof fd, "%d", ends[1]);
		execl("/proc/self/exe", "contract", "--victim", bench->ops->kind,
		      bench->durability == DURABILITY_D1 ? "d1" : "d2", dir, fd, NULL);
		_exit(127);
	}
	close(ends[1]);
	CHECK_EQ(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	CHECK_EQ(kill(child, SIGKILL), 0);
	CHECK_EQ(waitpid(child, &status, 0), child);

	bench_open(&after, bench->ops->kind, bench->durability, dir, "");
	topic = plain_topic(&after, 1);
	group = bench_group(&after, topic, GROUP_START_EARLIEST, 0);
	expect_closed_backlog(&after, group, topic, 499, 1, 0);
	reader = reader_open(&after, topic, group);
	reader_demand(reader, 1000, 1 << 30);
	for (uint32_t i = 2; i < 1000; i += 2) {
		take_all(reader, &got, 1);
		CHECK_EQ(got.number, i);
		CHECK_EQ(got.delivery.attempt, i == 2 ? 2 : 1);
		reader_drop(&got, 1);
	}
	expect_quiet(reader);
	reader_close(reader);
	models_end(topic, group);
	bench_leave(&after);
	bench_open(bench, after.ops->kind, after.durability, bench->dir, ""); // for the end
}

// ---- the embedded store's own

static void a_second_owner_is_refused(struct bench *bench)
{
	struct bench second = *bench;
	char *error = NULL;

	CHECK(!bench_start(&second, &error));
	CHECK(error && strstr(error, "in use by another process"));
	free(error);
}

static void format_write(const char *path, uint64_t format)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi meta;
	MDB_val key = {6, (void *)(uintptr_t)"format"}, value = {sizeof format, &format};

	CHECK_EQ(mdb_env_create(&env), 0);
	CHECK_EQ(mdb_env_set_maxdbs(env, 16), 0);
	CHECK_EQ(mdb_env_open(env, path, 0, 0600), 0);
	CHECK_EQ(mdb_txn_begin(env, NULL, 0, &txn), 0);
	CHECK_EQ(mdb_dbi_open(txn, "meta", 0, &meta), 0);
	CHECK_EQ(mdb_put(txn, meta, &key, &value, 0), 0);
	CHECK_EQ(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static void another_format_is_refused(struct bench *bench)
{
	static const char *const names[] = {"d1", "d2"};

	for (size_t i = 0; i < ARRAY_SIZE(names); ++i) {
		char path[120], *error = NULL;

		snprintf(path, sizeof path, "%s/%s", bench->dir, names[i]);
		bench_stop(bench);
		format_write(path, 2);
		CHECK(!bench_start(bench, &error));
		CHECK(error && strstr(error, "has format 2"));
		free(error);
		format_write(path, 1);
		CHECK(bench_start(bench, NULL));
	}
}

static void damage_is_refused(struct bench *bench)
{
	char path[120], *error = NULL;
	int fd;

	bench_stop(bench);
	snprintf(path, sizeof path, "%s/d2/data.mdb", bench->dir);
	fd = open(path, O_WRONLY);
	CHECK(fd >= 0);
	for (int page = 0; page < 2; ++page)
		CHECK_EQ(pwrite(fd, "not a database at all, not even a page", 38, page * 4096), 38);
	close(fd);
	CHECK(!bench_start(bench, &error));
	CHECK(error && strstr(error, "damaged or not ours"));
	free(error);
	CHECK_EQ(unlink(path), 0);
	CHECK(bench_start(bench, NULL));
}

static void expect_refused(struct bench *bench, const char *const *wrong, size_t count)
{
	char usual[sizeof bench->options];

	bench_stop(bench);
	strcpy(usual, bench->options);
	for (size_t i = 0; i < count; ++i) {
		char *error = NULL;

		strcpy(bench->options, wrong[i]);
		CHECK(!bench_start(bench, &error));
		CHECK(error && strstr(error, "options"));
		free(error);
	}
	strcpy(bench->options, usual);
	CHECK(bench_start(bench, NULL));
}

static void wrong_options_are_refused(struct bench *bench)
{
	static const char *const wrong[] = {"{\"map_byte\": 1}", "{\"map_bytes\": 1}",
					    "{\"map_bytes\": \"1\"}", "[]", "nonsense"};

	expect_refused(bench, wrong, ARRAY_SIZE(wrong));
}

static void wrong_kafka_options_are_refused(struct bench *bench)
{
	static const char *const wrong[] = {"{}",
					    "{\"bootstrap\": \"\"}",
					    "{\"bootstrap\": \"k:0\"}",
					    "{\"bootstrap\": \"k\", \"acks\": 1}",
					    "{\"bootstrap\": \"k\", \"security\": \"tls\"}",
					    "{\"bootstrap\": \"k\", \"security\": \"sasl_ssl\"}",
					    "{\"bootstrap\": \"k\", \"timeout_ms\": 5}",
					    "[]",
					    "nonsense"};

	expect_refused(bench, wrong, ARRAY_SIZE(wrong));
}

static void a_full_map_refuses_and_recovers(struct bench *bench)
{
	struct bench small;
	char dir[120];
	static uint8_t body[60000];
	const struct topic *topic;
	const struct group *group;
	struct reader *reader;
	struct message message = {.body = {body, sizeof body}};
	struct sent sent;
	uint64_t stored = 0;
	struct got got;

	snprintf(dir, sizeof dir, "%s/small", bench->dir);
	CHECK_EQ(mkdir(dir, 0700), 0);
	bench_open(&small, "embedded", bench->durability, dir, "{\"map_bytes\": 16777216}");
	topic = plain_topic(&small, 1);
	group = bench_group(&small, topic, GROUP_START_EARLIEST, 0);
	for (unsigned round = 0; round < 3; ++round) {
		uint64_t before = stored;

		for (;;) {
			bench_send(&small, topic, &message, 1, &sent);
			if (sent.runs[0].outcome != OUTCOME_OK)
				break;
			++stored;
		}
		CHECK_EQ(sent.runs[0].outcome, OUTCOME_REJECTED);
		CHECK_EQ(sent.runs[0].code, CODE_BACKEND_FULL);
		CHECK(sent.runs[0].retry_after_ms > 0);
		CHECK(stored > before + 50);
		// Consuming, acknowledging and deleting still work.
		reader = reader_open(&small, topic, group);
		reader_demand(reader, 1, 1 << 20);
		take_all(reader, &got, 1);
		ack_all(reader, &got, 1);
		reader_drop(&got, 1);
		reader_close(reader);
		json_decref(bench_purge(&small, topic, false, NULL));
	}
	models_end(topic, group);
	bench_leave(&small);
}

static void expect_send(struct bench *bench, const struct topic *topic, enum outcome outcome,
			enum code code)
{
	struct message message = {.body = TEXT("x")};
	struct sent sent;

	bench_send(bench, topic, &message, 1, &sent);
	CHECK_EQ(sent.runs[0].outcome, outcome);
	CHECK_STR(code_name(sent.runs[0].code), code_name(code));
}

// What was refused is not there, now and after a restart; what follows is.
static void a_failing_disk_refuses(struct bench *bench)
{
	static const struct {
		enum fault fault;
		enum code code;
	} faults[] = {{FAULT_WRITE, CODE_BACKEND_DOWN},
		      {FAULT_SPACE, CODE_BACKEND_FULL},
		      {FAULT_SYNC, CODE_BACKEND_DOWN}};
	struct topic_wish wish = {.durability = DURABILITY_D2};
	const struct topic *topic = bench_topic(bench, &wish);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct settle entry;
	struct got got;

	bench_fill(bench, topic, 0, 0, 1);
	reader_demand(reader, 1, 1000);
	take_all(reader, &got, 1);
	for (size_t i = 0; i < ARRAY_SIZE(faults); ++i) {
		fault_set(faults[i].fault);
		expect_send(bench, topic, OUTCOME_REJECTED, faults[i].code);
		fault_set(FAULT_NONE);
		expect_send(bench, topic, OUTCOME_OK, CODE_OK);
	}
	fault_set(FAULT_SYNC); // a settle that is not durable says so, and becomes so later
	entry = reader_receipt(&got, SETTLE_ACK, 0);
	CHECK_EQ(reader_settle(reader, &entry, 1), CODE_BACKEND_DOWN);
	CHECK(reader_wait_state(reader, SOURCE_DOWN, SHORT_MS));
	fault_set(FAULT_NONE);
	CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
	expect_backlog(reader, 3, 0, 0, 0);
	reader_drop(&got, 1);
	reader_close(reader);
	bench_reopen(bench);
	expect_closed_backlog(bench, group, topic, 3, 0, 0);
	models_end(topic, group);
}

// The meta page was being written: nobody knows what the disk holds. The store says so, serves
// nothing more, and a restart finds it whole.
static void a_doubtful_commit_is_unknown(struct bench *bench)
{
	struct topic_wish wish = {.durability = DURABILITY_D2};
	const struct topic *topic = bench_topic(bench, &wish);
	struct adapter_topic *held = bench->ops->topic_open(bench->adapter, topic);
	json_t *answer;
	json_int_t end;

	bench_fill(bench, topic, 0, 0, 7);
	fault_set(FAULT_META);
	expect_send(bench, topic, OUTCOME_UNKNOWN, CODE_BACKEND_DOWN);
	fault_set(FAULT_NONE);
	expect_send(bench, topic, OUTCOME_REJECTED, CODE_BACKEND_DOWN);
	answer = bench_probe(bench, NULL);
	CHECK(json_is_string(json_object_get(answer, "error")));
	json_decref(answer);
	bench->ops->topic_close(held);
	bench_reopen(bench);
	answer = bench_describe(bench, topic, NULL);
	end = sum_of(answer, "end");
	CHECK(end == 7 || end == 8);
	json_decref(answer);
	expect_send(bench, topic, OUTCOME_OK, CODE_OK);
	model_unref(topic);
}

static void a_torn_d1_store_is_set_aside(struct bench *bench)
{
	struct topic_wish wish = {.durability = DURABILITY_D1};
	const struct topic *topic = bench_topic(bench, &wish);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct message message = {.number = 5, .body = TEXT("x")};
	struct reader *reader;
	struct got before, after;
	char path[120];
	FILE *file;

	bench_fill(bench, topic, 0, 0, 10);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 1, 1 << 20);
	take_all(reader, &before, 1);
	reader_close(reader);
	bench_stop(bench);
	snprintf(path, sizeof path, "%s/d1/boot", bench->dir);
	file = fopen(path, "w"); // as a machine leaves it that went down
	CHECK(file);
	fputs("another-boot", file);
	fclose(file);
	CHECK(bench_start(bench, NULL));
	reader = reader_open(bench, topic, group);
	CHECK(reader_wait_state(reader, SOURCE_READY, SHORT_MS));
	expect_backlog(reader, 0, 0, 0, 0);
	CHECK(bench_send_ok(bench, topic, &message, 1) > 9); // no position comes twice
	reader_demand(reader, 1, 1 << 20);
	take_all(reader, &after, 1);
	CHECK_EQ(after.number, 5);
	CHECK(after.delivery.epoch > before.delivery.epoch);
	ack_all(reader, &after, 1);
	reader_drop(&before, 1);
	reader_drop(&after, 1);
	reader_close(reader);
	models_end(topic, group);
}

#define CONSUME CAP_CONSUME
#define HISTORY (CAP_CONSUME | CAP_HISTORY)

const struct contract_case contract_cases[] = {
	{"says what it is when probed", 0, NULL, probe_says_what_it_is},
	{"names partition and offset of what it stored", CAP_OFFSETS, NULL,
	 an_ok_names_the_position},
	{"holds names in any script", 0, NULL, names_may_be_unicode},
	{"creates and deletes topics idempotently, refuses another shape", CAP_HISTORY, NULL,
	 creating_is_idempotent},
	{"lets a topic grow under those who hold it", CONSUME, NULL, a_topic_can_grow},
	{"answers NOT_FOUND and ends sources when a topic is deleted underneath", CONSUME, NULL,
	 a_deleted_topic_answers_not_found},
	{"keeps the order of each partition", CONSUME, NULL, mixed_partitions_keep_their_order},
	{"gives back absent, empty, binary and big keys and bodies", CONSUME, NULL,
	 every_body_and_key_comes_back},
	{"never delivers more than was demanded", CONSUME, NULL, demand_is_never_exceeded},
	{"tells those who follow the end", CONSUME, NULL, followers_of_the_end_are_told},
	{"gives every group everything", CONSUME, NULL, each_group_gets_everything},
	{"starts groups at the earliest, the latest and a time", HISTORY, NULL, start_positions},
	{"delivers a nacked message again with its attempt, a released one without", CONSUME, NULL,
	 a_nack_comes_again_with_its_attempt},
	{"holds a nacked message back for its delay", CONSUME, NULL, a_delayed_nack_waits},
	{"answers STALE to old, wrong and hostile receipts", CONSUME, NULL, old_receipts_are_stale},
	{"settles runs of receipts", CONSUME, NULL, runs_of_receipts_settle_together},
	{"delivers again what was unsettled at the close, and nothing else", CONSUME, NULL,
	 what_was_unsettled_comes_again},
	{"hands out what is rejected once more, for its copy, and nothing in its place", CONSUME,
	 NULL, rejected_come_once_more_by_themselves},
	{"delivers again what was rejected but not copied at the close",
	 CONSUME | CAP_ATTEMPTS_SURVIVE, NULL, a_reject_that_is_cut_off_comes_again},
	{"keeps attempts over a restart", CONSUME | CAP_ATTEMPTS_SURVIVE, NULL, attempts_survive},
	{"keeps the attempts of any number of messages", CONSUME | CAP_DELAY, NULL,
	 many_nacks_keep_their_attempts},
	{"counts attempts without end", CONSUME, NULL, attempts_have_no_end},
	{"lets a long delay neither hold the group nor get lost", CONSUME | CAP_DELAY, NULL,
	 a_long_nack_survives_outside_the_window},
	{"bounds what is open in a partition", CONSUME | CAP_HISTORY, NULL, the_window_has_a_bound},
	{"holds messages back until they are due, also over a restart", CONSUME | CAP_DELAY, NULL,
	 a_due_message_waits},
	{"delivers thousands that are due at once, each once", CONSUME | CAP_DELAY, NULL,
	 many_due_messages_all_come},
	{"drops and counts what has expired", CONSUME, NULL,
	 what_has_expired_is_dropped_and_counted},
	{"has a backlog that adds up at every step", CONSUME | CAP_EXACT_BACKLOG, NULL,
	 the_backlog_adds_up_at_every_step},
	{"moves a group to the earliest, the latest and positions", HISTORY, NULL,
	 a_group_can_be_moved},
	{"moves a group to a time", HISTORY | CAP_QUERY_TIME, NULL, a_group_can_be_moved_to_a_time},
	{"creates and deletes groups idempotently", CONSUME, NULL, groups_come_and_go},
	{"purges a topic, and says before what would go", HISTORY, NULL, a_topic_can_be_purged},
	{"answers message queries by position and time", HISTORY | CAP_QUERY_TIME, NULL,
	 messages_can_be_queried},
	{"keeps no more bytes than it is told", HISTORY, NULL, retention_by_size},
	{"keeps nothing longer than it is told", HISTORY, NULL, retention_by_age},
	{"takes another retention", HISTORY, NULL, retention_can_change},
	{"keeps what it stored over a restart", HISTORY, NULL, stored_messages_survive},
	{"delivers after kill -9 exactly what was not acknowledged", CONSUME | CAP_D1, NULL,
	 only_the_unacked_comes_after_a_kill},
	{"refuses a second owner of its directory", 0, "embedded", a_second_owner_is_refused},
	{"refuses another format", 0, "embedded", another_format_is_refused},
	{"refuses a damaged file", 0, "embedded", damage_is_refused},
	{"refuses wrong options", 0, "embedded", wrong_options_are_refused},
	{"refuses wrong options of its own", 0, "kafka", wrong_kafka_options_are_refused},
	{"refuses when the map is full, and recovers", 0, "embedded",
	 a_full_map_refuses_and_recovers},
	{"refuses what a failing disk does not take, and goes on after it", CAP_D2, "embedded",
	 a_failing_disk_refuses},
	{"answers UNKNOWN only when the end of a commit is in doubt", CAP_D2, "embedded",
	 a_doubtful_commit_is_unknown},
	{"sets a torn D1 store aside and never uses a position twice", CAP_D1, "embedded",
	 a_torn_d1_store_is_set_aside},
	{"passes positions that hold nothing", CONSUME, "kafka", what_holds_nothing_is_passed},
	{"delivers at once what others write", CONSUME, "kafka", what_others_write_comes_at_once},
	{"lets who is far behind hold up nobody", CONSUME | CAP_HISTORY, NULL,
	 who_is_far_behind_holds_up_nobody},
	{"commits again what was committed an hour ago, as it is", CONSUME, "kafka",
	 old_commits_are_made_again},
	{"waits for an open transaction, and can be closed meanwhile", CONSUME, "kafka",
	 an_open_transaction_holds_nothing_up_for_ever},
};
const size_t contract_case_count = ARRAY_SIZE(contract_cases);
