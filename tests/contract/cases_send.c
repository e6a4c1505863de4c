// What is sent is stored as it was, in order, and where the OK says; and the topics it is sent to.

#include "tests/contract/promises.h"

#include "core/wire/record.h"
#include "proxy/query/answer_json.h"
#include "tests/contract/steps.h"

void probe_says_what_it_is(struct bench *bench)
{
	json_t *answer = bench_probe(bench, NULL);
	json_t *capabilities = answer_json_capabilities(bench->capabilities);

	CHECK(json_is_true(json_object_get(answer, "reachable")));
	CHECK(json_is_string(json_object_get(answer, "version")));
	CHECK(json_is_string(json_object_get(answer, "durability")));
	CHECK(json_is_string(json_object_get(answer, "durability_reason")));
	CHECK(json_equal(json_object_get(answer, "capabilities"), capabilities));
	CHECK_EQ(bench->capabilities & bench->ops->lacks, 0);
	if (bench->capabilities & CAP_CONSUME) // where a group can begin has to be known before
		CHECK_EQ(keeps_positions(bench), !(bench->ops->lacks & CAP_POSITIONS));
	json_decref(capabilities);
	json_decref(answer);
}

void an_ok_names_the_position(struct bench *bench)
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

void mixed_partitions_keep_their_order(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 3);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct message messages[60];
	struct got got[240];
	uint32_t next[3] = {0, 1, 2};
	uint64_t last[3] = {0};
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
		expect_offset(bench, &got[i], next[partition] / 3);
		CHECK(next[partition] < 3 || got[i].delivery.offset > last[partition]);
		last[partition] = got[i].delivery.offset;
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

void every_body_and_key_comes_back(struct bench *bench)
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

void names_may_be_unicode(struct bench *bench)
{
	struct topic_wish wish = {.name = "заказы-订单-طلبات"};
	const struct topic *topic = bench_topic(bench, &wish);
	const struct group *group = keeper(bench, topic);
	struct message message = {.body = TEXT("x")};

	bench_send_ok(bench, topic, &message, 1);
	models_end(topic, group);
}

// Without a group. A dead-letter topic keeps what it gets on every cluster.
void what_is_not_kept_is_refused(struct bench *bench)
{
	struct topic_wish wish = {.name = "workers.dead", .dead_letter_of = 77};
	const struct topic *topic = plain_topic(bench, 1), *dead = bench_topic(bench, &wish);
	struct message message = {.body = TEXT("x")};
	struct sent sent;

	bench_send(bench, topic, &message, 1, &sent);
	if (bench->capabilities & CAP_KEEPS_WITHOUT_GROUP) {
		CHECK_EQ(sent.runs[0].outcome, OUTCOME_OK);
	} else {
		CHECK_EQ(sent.runs[0].outcome, OUTCOME_REJECTED);
		CHECK_STR(code_name(sent.runs[0].code), "NO_ROUTE");
	}
	bench_send_ok(bench, dead, &message, 1);
	for (json_int_t kept = 1; kept >= 0; --kept) {
		json_t *answer = bench_purge(bench, dead, true, NULL);

		CHECK_EQ(json_integer_value(json_object_get(answer, "messages")), kept);
		json_decref(answer);
		json_decref(bench_purge(bench, dead, false, NULL));
	}
	CHECK_EQ(bench_topic_delete(bench, dead), CODE_OK);
	models_end(topic, NULL);
	models_end(dead, NULL);
}

void creating_is_idempotent(struct bench *bench)
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

void a_topic_can_grow(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1), *larger = bench_topic_like(topic, 1, 3);
	const struct group *group = bench_group(bench, topic, GROUP_START_LATEST, 0);
	struct adapter_topic *held = bench->ops->topic_open(bench->adapter, topic);
	struct message messages[] = {{.number = 0, .body = TEXT("x")},
				     {.partition = 2, .number = 1, .body = TEXT("x")},
				     {.partition = 2, .number = 2, .body = TEXT("x")}};
	struct sent sent;
	struct reader *reader;
	struct got got[2];

	bench_send(bench, topic, &messages[1], 1, &sent);
	CHECK_EQ(sent.runs[0].outcome, OUTCOME_REJECTED); // not there yet
	CHECK_EQ(sent.runs[0].code, CODE_NOT_READY);
	CHECK_EQ(bench_topic_change(bench, larger), CODE_OK);
	bench_send_ok(bench, larger, messages, 2);
	bench_send_ok(bench, larger, &messages[2], 1);
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

// A backend that was just opened may have to be asked: then no sender is told that it was stored.
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

void a_deleted_topic_answers_not_found(struct bench *bench)
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
	CHECK_EQ(bench_topic_change(bench, topic), CODE_CONFLICT); // it makes nothing anew
	CHECK(!bench->ops->topic_open(bench->adapter, topic));
	reader_drop(&got, 1);
	reader_close(reader);
	bench->ops->topic_close(held);
	bench_reopen(bench);
	expect_not_there(bench, topic, group);
	models_end(topic, group);
}
