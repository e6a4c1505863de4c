// Administration: groups that are moved, made and deleted, purging, queries, retention.

#include "tests/contract/promises.h"

#include "core/base/clock.h"
#include "tests/contract/steps.h"

// ---- moving

void a_group_can_be_moved(struct bench *bench)
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

void a_group_can_be_moved_to_a_time(struct bench *bench)
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

static void expect_given_up(struct bench *bench, const struct group *group,
			    const struct topic *topic, bool preview, json_int_t skipped)
{
	json_t *answer =
		bench_reset(bench, group, topic, json_pack("{s:b}", "latest", 1), preview, NULL);

	CHECK_EQ(sum_of(answer, "skipped"), skipped);
	CHECK_EQ(sum_of(answer, "replayed"), 0);
	json_decref(answer);
}

// What can be asked of a cluster without positions: without a history no place but the latest, and
// a purge of what waits for the groups of a topic.
static void expect_only_the_latest(struct bench *bench, const struct group *group,
				   const struct topic *topic)
{
	json_t *answer;
	enum code code;

	bench_reset(bench, group, topic,
		    json_pack("{s:[{s:i,s:i}]}", "positions", "partition", 0, "offset", 1), false,
		    &code);
	CHECK_STR(code_name(code), "UNSUPPORTED_BY_BACKEND");
	if (!(bench->capabilities & CAP_HISTORY)) {
		bench_reset(bench, group, topic, json_pack("{s:b}", "earliest", 1), false, &code);
		CHECK_STR(code_name(code), "UNSUPPORTED_BY_BACKEND");
		bench_reset(bench, group, topic, json_pack("{s:i}", "time_ms", 1), false, &code);
		CHECK_STR(code_name(code), "UNSUPPORTED_BY_BACKEND");
	}
	bench_fill(bench, topic, 0, 20, 5);
	expect_closed_backlog(bench, group, topic, 5, 0, 0);
	answer = bench_purge(bench, topic, true, NULL);
	CHECK_EQ(json_integer_value(json_object_get(answer, "messages")), 5);
	json_decref(answer);
	answer = bench_purge(bench, topic, false, NULL);
	CHECK_EQ(json_integer_value(json_object_get(answer, "messages")), 5);
	json_decref(answer);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
}

void what_waits_can_be_given_up(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct got got[3];

	bench_fill(bench, topic, 0, 0, 10);
	reader_demand(reader, 3, 1 << 20);
	take_all(reader, got, 3);
	settle(reader, &got[0], SETTLE_ACK, 0);
	settle(reader, &got[1], SETTLE_NACK, 3600 * 1000);
	reader_drop(got, 3);
	reader_close(reader);
	expect_closed_backlog(bench, group, topic, 8, 1, 0);
	expect_given_up(bench, group, topic, true, 9);
	expect_closed_backlog(bench, group, topic, 8, 1, 0); // a preview
	expect_given_up(bench, group, topic, false, 9);
	expect_closed_backlog(bench, group, topic, 0, 0, 0);
	bench_fill(bench, topic, 0, 10, 1);
	expect_closed_backlog(bench, group, topic, 1, 0, 0);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 2, 1 << 20);
	take_all(reader, got, 1);
	CHECK_EQ(got[0].number, 10);
	CHECK_EQ(got[0].delivery.attempt, 1);
	expect_quiet(reader);
	settle(reader, &got[0], SETTLE_ACK, 0);
	reader_drop(got, 1);
	reader_close(reader);
	if (!keeps_positions(bench))
		expect_only_the_latest(bench, group, topic);
	models_end(topic, group);
}

void groups_come_and_go(struct bench *bench)
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

void a_topic_can_be_purged(struct bench *bench)
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

void messages_can_be_queried(struct bench *bench)
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

// Waits until retention has left no more than `most` messages; returns how many it left.
static json_int_t wait_for_kept(struct bench *bench, const struct topic *topic, json_int_t most,
				bool *ret_exact)
{
	json_int_t kept = INT64_MAX;

	for (unsigned i = 0; i < 3000 && kept > most; ++i) {
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

// A backend that cannot say how many bytes there are deletes in pieces of a mebibyte or more: two
// of them a partition may be there beside what was asked for.
void retention_by_size(struct bench *bench)
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
	for (unsigned i = 0; i < 600; ++i) { // a source may hear of it with its next look
		reader_backlog(reader, rows, 2);
		if (rows[0].ready + rows[1].ready ==
			    COUNT - rows[0].log.first - rows[1].log.first &&
		    rows[0].log.first > 0 && rows[1].log.first > 0)
			break;
		usleep(50000);
	}
	// What is gone is no backlog.
	CHECK_EQ(rows[0].ready + rows[1].ready, COUNT - rows[0].log.first - rows[1].log.first);
	CHECK(rows[0].log.first > 0 && rows[1].log.first > 0);
	reader_close(reader);
	models_end(topic, group);
}

void retention_by_age(struct bench *bench)
{
	struct topic_wish wish = {.retention_ms = 3000};
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

void retention_can_change(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1), *changed = bench_topic_kept(topic, 1000);
	json_t *answer;
	bool exact;

	bench_fill(bench, topic, 0, 0, 10);
	usleep(1500 * 1000);
	answer = bench_describe(bench, topic, NULL);
	CHECK_EQ(sum_of(answer, "first"), 0);
	json_decref(answer);
	CHECK_EQ(bench_topic_change(bench, changed), CODE_OK);
	CHECK_EQ(wait_for_kept(bench, changed, 0, &exact), 0);
	CHECK_EQ(bench_topic_change(bench, topic), CODE_OK);
	bench_fill(bench, topic, 0, 10, 3);
	answer = bench_describe(bench, topic, NULL);
	CHECK_EQ(sum_of(answer, "end") - sum_of(answer, "first"), 3);
	json_decref(answer);
	model_unref(changed);
	models_end(topic, NULL);
}

// ---- stored bytes

static uint64_t bytes_of(struct bench *bench, const struct topic *topic, const struct group *group)
{
	struct stored_row row = {.topic = topic, .group = group};

	if (!bench->ops->stored)
		return 0; // nothing is kept
	bench->ops->stored(bench->adapter, &row, 1);
	CHECK(!row.known || row.estimated == (strcmp(bench->ops->kind, "embedded") != 0));
	return row.known ? row.bytes : 0;
}

// Waits until what is told lies in this range; returns it.
static uint64_t wait_for_bytes(struct bench *bench, const struct topic *topic,
			       const struct group *group, uint64_t least, uint64_t most)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < BENCH_WAIT_MS / 20; ++i) {
		bytes = bytes_of(bench, topic, group);
		if (bytes >= least && bytes <= most)
			return bytes;
		usleep(20000);
	}
	fprintf(stderr, "%llu bytes, not %llu to %llu\n", (unsigned long long)bytes,
		(unsigned long long)least, (unsigned long long)most);
	CHECK(!"what is told to be stored");
	return bytes;
}

// A backend that is exact says what describing a topic says, at once.
static void expect_exact(struct bench *bench, const struct topic *topic)
{
	json_t *answer = bench_describe(bench, topic, NULL);

	if (strcmp(bench->ops->kind, "embedded") == 0)
		CHECK_EQ(bytes_of(bench, topic, NULL), sum_of(answer, "bytes"));
	json_decref(answer);
}

static void big_messages(struct bench *bench, const struct topic *topic, uint32_t count)
{
	static uint8_t body[50000];

	for (uint32_t i = 0; i < count; ++i)
		bench_send_ok(bench, topic,
			      &(struct message){.partition = i % topic->partitions,
						.number = i,
						.body = {body, sizeof body}},
			      1);
}

static void put_one_aside(struct bench *bench, const struct topic *topic, const struct group *group)
{
	struct reader *reader = reader_open(bench, topic, group);
	struct got got;

	reader_demand(reader, 1, 1 << 20);
	take_all(reader, &got, 1);
	settle(reader, &got, SETTLE_NACK, 3600 * 1000);
	reader_drop(&got, 1);
	reader_close(reader);
}

// Grows with what is sent and put aside, is there after a restart, and falls when it goes.
void what_is_stored_is_told(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 3);
	bool keeps = bench->capabilities & CAP_POSITIONS;
	uint64_t all = keeps ? 20 * 50000 : 0, one = keeps ? 50000 : 0;
	const struct group *group = keeper(bench, topic);

	CHECK_EQ(bytes_of(bench, topic, NULL), 0);
	big_messages(bench, topic, 20);
	expect_exact(bench, topic);
	wait_for_bytes(bench, topic, NULL, all, all + all / 10);
	if (!keeps) {
		models_end(topic, group);
		return;
	}
	model_unref(group);
	group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	wait_for_bytes(bench, topic, group, 0, 0);
	put_one_aside(bench, topic, group);
	wait_for_bytes(bench, topic, group, one, one + one / 5);
	bench_reopen(bench);
	expect_exact(bench, topic);
	wait_for_bytes(bench, topic, NULL, all, all + all / 10);
	wait_for_bytes(bench, topic, group, one, one + one / 5);
	json_decref(bench_purge(bench, topic, false, NULL));
	expect_exact(bench, topic);
	wait_for_bytes(bench, topic, NULL, 0, 0);
	big_messages(bench, topic, 2);
	wait_for_bytes(bench, topic, NULL, 2 * one, 3 * one);
	CHECK_EQ(bench_group_delete(bench, group, topic), CODE_OK);
	wait_for_bytes(bench, topic, group, 0, 0);
	CHECK_EQ(bench_topic_delete(bench, topic), CODE_OK);
	wait_for_bytes(bench, topic, NULL, 0, 0);
	models_end(topic, group);
}
