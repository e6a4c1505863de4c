#include "tests/contract/native.h"

#include "core/base/clock.h"
#include "core/wire/record.h"

#include <librdkafka/rdkafka.h>

#define SHORT_MS 5000
#define SOON_MS  500 // the adapter asks for ends every second: this is faster
#define WAIT_MS  10000

// ---- a client of the cluster

static rd_kafka_t *native_open(const char *transactional)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	const char *bootstrap = getenv("CONTRACT_KAFKA");
	char text[256];
	rd_kafka_t *native;

	CHECK_EQ(rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap ? bootstrap : "", text,
				   sizeof text),
		 RD_KAFKA_CONF_OK);
	if (transactional)
		CHECK_EQ(rd_kafka_conf_set(conf, "transactional.id", transactional, text,
					   sizeof text),
			 RD_KAFKA_CONF_OK);
	native = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	CHECK(native);
	if (transactional)
		CHECK(!rd_kafka_init_transactions(native, WAIT_MS));
	return native;
}

static void native_send(rd_kafka_t *native, const struct topic *topic, uint32_t number,
			uint32_t count)
{
	rd_kafka_topic_t *known = rd_kafka_topic_new(native, topic->physical, NULL);

	CHECK(known);
	for (uint32_t i = 0; i < count; ++i) {
		uint32_t body = number + i;

		CHECK_EQ(rd_kafka_produce(known, 0, RD_KAFKA_MSG_F_COPY, &body, sizeof body, NULL,
					  0, NULL),
			 0);
	}
	rd_kafka_topic_destroy(known);
	CHECK_EQ(rd_kafka_flush(native, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void transaction(rd_kafka_t *native, const struct topic *topic, uint32_t number,
			uint32_t count, bool commit)
{
	CHECK(!rd_kafka_begin_transaction(native));
	native_send(native, topic, number, count);
	CHECK(!(commit ? rd_kafka_commit_transaction(native, WAIT_MS)
		       : rd_kafka_abort_transaction(native, WAIT_MS)));
}

// ---- what comes

static uint32_t native_number(const struct got *got)
{
	struct record_view view;

	record_read(got->delivery.record, &view);
	CHECK_EQ(view.body.size, 4);
	return le32_get(view.body.data);
}

static void expect_numbers(struct reader *reader, uint32_t number, uint32_t count, unsigned wait_ms)
{
	struct got got;

	for (uint32_t i = 0; i < count; ++i) {
		struct settle entry;

		CHECK_EQ(reader_take(reader, &got, 1, wait_ms), 1);
		CHECK_EQ(native_number(&got), number + i);
		entry = reader_receipt(&got, SETTLE_ACK, 0);
		reader_settle_soon(reader, &entry, 1);
		CHECK_EQ(entry.settled, 1);
		reader_drop(&got, 1);
	}
}

static void expect_empty_soon(struct reader *reader)
{
	struct source_partition partition;
	uint64_t until_ns = clock_now_ns() + SHORT_MS * MS_NS;

	do {
		reader_backlog(reader, &partition, 1);
	} while ((partition.ready || partition.in_flight) && clock_now_ns() < until_ns &&
		 usleep(10000) == 0);
	CHECK_EQ(partition.ready, 0);
	CHECK_EQ(partition.in_flight, 0);
}

static const struct topic *open_topic(struct bench *bench)
{
	struct topic_wish wish = {.partitions = 1};

	return bench_topic(bench, &wish);
}

// ---- cases

void what_holds_nothing_is_passed(struct bench *bench)
{
	const struct topic *topic = open_topic(bench);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	rd_kafka_t *native = native_open(topic->physical);
	struct reader *reader;

	transaction(native, topic, 1000, 3, false); // the log begins with nothing
	transaction(native, topic, 0, 10, true);
	transaction(native, topic, 1000, 200, false);
	transaction(native, topic, 10, 5, true);
	transaction(native, topic, 1000, 7, false); // and ends with it
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 100, 1 << 20);
	expect_numbers(reader, 0, 15, SHORT_MS);
	expect_empty_soon(reader);
	for (uint32_t i = 0; i < 5; ++i) { // the same at the end, as it happens
		transaction(native, topic, 1000, 2, false);
		transaction(native, topic, 15 + i, 1, true);
		expect_numbers(reader, 15 + i, 1, SHORT_MS);
	}
	expect_empty_soon(reader);
	reader_close(reader);
	rd_kafka_destroy(native);
	model_unref(topic);
	model_unref(group);
}

void what_others_write_comes_at_once(struct bench *bench)
{
	const struct topic *topic = open_topic(bench);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	rd_kafka_t *native = native_open(NULL);

	reader_demand(reader, 100, 1 << 20);
	native_send(native, topic, 0, 1);
	expect_numbers(reader, 0, 1, SHORT_MS);
	for (uint32_t i = 1; i < 10; ++i) {
		usleep(130000);
		native_send(native, topic, i, 1);
		expect_numbers(reader, i, 1, SOON_MS);
	}
	reader_close(reader);
	rd_kafka_destroy(native);
	model_unref(topic);
	model_unref(group);
}

#define FAR 40000u

void who_is_far_behind_holds_up_nobody(struct bench *bench)
{
	const struct topic *topic = open_topic(bench);
	const struct group *early = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct got *got = calloc(FAR + 10, sizeof *got);
	struct reader *behind, *ahead;
	uint32_t number = FAR, taken = 0;
	const struct group *late;

	CHECK(got);
	bench_fill(bench, topic, 0, 0, FAR);
	late = bench_group(bench, topic, GROUP_START_LATEST, 0);
	ahead = reader_open(bench, topic, late);
	reader_demand(ahead, 1000, 1 << 20);
	behind = reader_open(bench, topic, early);
	for (unsigned round = 0; round < 10; ++round) {
		struct got last;
		uint32_t part = FAR / 10;
		struct settle *entries = calloc(part, sizeof *entries);

		reader_demand(behind, part, 64 << 20);
		bench_fill(bench, topic, 0, number, 1);
		CHECK_EQ(reader_take(ahead, &last, 1, SOON_MS), 1);
		CHECK_EQ(last.number, number++);
		reader_drop(&last, 1);
		CHECK_EQ(reader_take(behind, got, part, SHORT_MS), part);
		for (uint32_t i = 0; i < part; ++i) {
			CHECK_EQ(got[i].number, taken++);
			entries[i] = reader_receipt(&got[i], SETTLE_ACK, 0);
		}
		reader_settle_soon(behind, entries, part);
		reader_drop(got, part);
		free(entries);
	}
	reader_close(behind);
	reader_close(ahead);
	free(got);
	model_unref(topic);
	model_unref(early);
	model_unref(late);
}

void an_open_transaction_holds_nothing_up_for_ever(struct bench *bench)
{
	const struct topic *topic = open_topic(bench);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	rd_kafka_t *native = native_open(topic->physical), *plain = native_open(NULL);
	uint64_t since_ns;

	reader_demand(reader, 100, 1 << 20);
	CHECK(!rd_kafka_begin_transaction(native));
	native_send(native, topic, 0, 2);
	native_send(plain, topic, 2, 3); // nobody may see these before it has ended
	bench_fill(bench, topic, 0, 0, 1);
	CHECK_EQ(reader_take(reader, &(struct got){0}, 1, 300), 0);
	CHECK(!rd_kafka_commit_transaction(native, WAIT_MS));
	expect_numbers(reader, 0, 5, SHORT_MS);
	CHECK(!rd_kafka_begin_transaction(native));
	native_send(native, topic, 0, 2);
	bench_fill(bench, topic, 0, 0, 1);
	usleep(100000);
	since_ns = clock_now_ns();
	reader_close(reader);
	CHECK(clock_now_ns() - since_ns < SHORT_MS * MS_NS);
	rd_kafka_destroy(plain);
	rd_kafka_destroy(native);
	model_unref(topic);
	model_unref(group);
}
