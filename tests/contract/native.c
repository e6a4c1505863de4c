#include "tests/contract/native.h"

#include "adapters/kafka/offsets/offset_keepalive.h"
#include "core/base/clock.h"
#include "core/wire/record.h"

#include <librdkafka/rdkafka.h>

#define SHORT_MS 30000
#define SOON_MS  500 // the adapter asks for ends every second: this is faster
#define WAIT_MS  30000

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

// ---- what the cluster keeps of a group

#define OFFSETS_TOPIC "__consumer_offsets"

struct commits {
	rd_kafka_t *consumer;
	rd_kafka_topic_t *topic;
	int32_t partition;
	const char *group;
	int64_t next;      // of what was read
	uint64_t position; // the last commit of the group, with its text
	char text[256];
};

// Where the coordinator keeps them: Java's hash of the group's name.
static int32_t offsets_partition(struct commits *commits)
{
	const struct rd_kafka_metadata *metadata;
	uint32_t hash = 0;
	int32_t count;

	CHECK(!rd_kafka_metadata(commits->consumer, 0, commits->topic, &metadata, WAIT_MS));
	count = metadata->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(metadata);
	CHECK(count > 0);
	for (const char *at = commits->group; *at; ++at)
		hash = hash * 31 + (uint8_t)*at;
	return (int32_t)(llabs((int32_t)hash) % count);
}

static int64_t offsets_end(const struct commits *commits)
{
	int64_t first, end;

	CHECK(!rd_kafka_query_watermark_offsets(commits->consumer, OFFSETS_TOPIC,
						commits->partition, &first, &end, WAIT_MS));
	return end;
}

static void commits_open(struct commits *commits, const char *group)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	const char *bootstrap = getenv("CONTRACT_KAFKA");
	char text[256];

	*commits = (struct commits){.group = group};
	rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap ? bootstrap : "", NULL, 0);
	rd_kafka_conf_set(conf, "enable.partition.eof", "true", NULL, 0);
	commits->consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
	CHECK(commits->consumer);
	commits->topic = rd_kafka_topic_new(commits->consumer, OFFSETS_TOPIC, NULL);
	commits->partition = offsets_partition(commits);
	commits->next = offsets_end(commits);
}

static void commits_close(struct commits *commits)
{
	rd_kafka_topic_destroy(commits->topic);
	rd_kafka_destroy(commits->consumer);
}

static uint64_t number_take(const uint8_t **at, unsigned bytes)
{
	uint64_t number = 0;

	while (bytes--)
		number = number << 8 | *(*at)++;
	return number;
}

// The size of a string: from version 4 on (Kafka 4.1) it is one more, in groups of 7 bits.
static size_t size_take(const uint8_t **at, uint64_t version)
{
	size_t size = 0;
	unsigned shift = 0;

	if (version < 4)
		return number_take(at, 2);
	do {
		size |= (size_t)(**at & 0x7f) << shift;
		shift += 7;
	} while (*(*at)++ & 0x80);
	return size - 1;
}

// A commit, in Kafka's own form: version, group, … and version, position, epoch, text, …
static bool commit_take(struct commits *commits, const rd_kafka_message_t *message)
{
	const uint8_t *key = message->key, *value = message->payload;
	uint64_t version;
	size_t size;

	if (!value || number_take(&key, 2) > 1) // removed; or a group, not a commit
		return false;
	size = number_take(&key, 2);
	if (size != strlen(commits->group) || memcmp(key, commits->group, size))
		return false;
	version = number_take(&value, 2);
	CHECK(version == 3 || version == 4);
	commits->position = number_take(&value, 8);
	number_take(&value, 4);
	size = size_take(&value, version);
	CHECK(size < sizeof commits->text);
	memcpy(commits->text, value, size);
	commits->text[size] = '\0';
	return true;
}

// Reads on to the end; returns how often the group was committed.
static unsigned commits_made(struct commits *commits)
{
	int64_t end = offsets_end(commits);
	unsigned count = 0;

	CHECK(!rd_kafka_consume_start(commits->topic, commits->partition, commits->next));
	while (commits->next < end) {
		rd_kafka_message_t *message =
			rd_kafka_consume(commits->topic, commits->partition, WAIT_MS);

		CHECK(message);
		CHECK(!message->err || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF);
		if (!message->err)
			count += commit_take(commits, message);
		commits->next = MAX(message->offset + !message->err, commits->next);
		rd_kafka_message_destroy(message);
	}
	CHECK(!rd_kafka_consume_stop(commits->topic, commits->partition));
	return count;
}

// As if it were that late. A call that comes while another one is at work does nothing, and the
// adapter makes its own every second.
static void keep(struct bench *bench, const struct topic *topic, const struct group *group,
		 uint64_t now_ns)
{
	for (unsigned i = 0; i < 3; ++i) {
		enum code code;

		offset_keepalive_run(bench->adapter, now_ns);
		json_decref(bench_backlog(bench, group, topic, &code)); // behind it
	}
}

// ---- cases

void old_commits_are_made_again(struct bench *bench)
{
	const uint64_t hour_ns = 3600 * S_NS, minute_ns = 60 * S_NS;
	const struct topic *topic = open_topic(bench);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader = reader_open(bench, topic, group);
	struct settle entries[10];
	struct commits commits;
	struct got got[10];
	uint64_t before_ns, after_ns, position;
	char text[sizeof commits.text];

	commits_open(&commits, group->physical);
	bench_fill(bench, topic, 0, 0, 10);
	reader_demand(reader, 10, 1 << 20);
	CHECK_EQ(reader_take(reader, got, 10, SHORT_MS), 10);
	for (uint32_t i = 0; i < 10; ++i)
		entries[i] = reader_receipt(&got[i], i == 5 ? SETTLE_RELEASE : SETTLE_ACK, 0);
	before_ns = clock_now_ns();
	CHECK_EQ(reader_settle(reader, entries, 10), CODE_OK);
	reader_drop(got, 10);
	reader_close(reader);
	after_ns = clock_now_ns();
	CHECK(commits_made(&commits) > 0);
	position = commits.position;
	CHECK_EQ(position, 5);
	CHECK(commits.text[0]); // what is done behind it
	memcpy(text, commits.text, sizeof text);
	keep(bench, topic, group, before_ns + hour_ns - minute_ns);
	CHECK_EQ(commits_made(&commits), 0);
	for (unsigned hours = 1; hours <= 2; ++hours) {
		commits.position = 0;
		keep(bench, topic, group, after_ns + hours * (hour_ns + minute_ns));
		CHECK_EQ(commits_made(&commits), 1); // it is new then
		CHECK_EQ(commits.position, position);
		CHECK_STR(commits.text, text);
	}
	CHECK_EQ(bench_group_delete(bench, group, topic), CODE_OK);
	commits_made(&commits);
	keep(bench, topic, group, after_ns + 5 * hour_ns);
	CHECK_EQ(commits_made(&commits), 0);
	commits_close(&commits);
	model_unref(topic);
	model_unref(group);
}

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
	unsigned soon = 0;

	reader_demand(reader, 100, 1 << 20);
	native_send(native, topic, 0, 1);
	expect_numbers(reader, 0, 1, SHORT_MS);
	for (uint32_t i = 1; i < 10; ++i) {
		uint64_t since_ns;

		usleep(130000);
		native_send(native, topic, i, 1);
		since_ns = clock_now_ns();
		expect_numbers(reader, i, 1, SHORT_MS);
		soon += clock_now_ns() - since_ns < SOON_MS * MS_NS;
	}
	CHECK(soon >= 4); // of nine, on a machine that others keep busy; without it none
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
	uint32_t number = FAR, taken = 0, soon = 0;
	uint64_t since_ns;
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
		since_ns = clock_now_ns();
		CHECK_EQ(reader_take(ahead, &last, 1, SHORT_MS), 1);
		soon += clock_now_ns() - since_ns < SOON_MS * MS_NS;
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
	CHECK(soon >= 5);
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
	native_send(plain, topic, 2, 3); // no group may see these before it has ended
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
