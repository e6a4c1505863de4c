// What one kind has of its own: the files of the embedded store, its disk and its map; and the
// options that each refuses.

#include "tests/contract/promises.h"

#include "tests/contract/faults.h"
#include "tests/contract/steps.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>

void a_second_owner_is_refused(struct bench *bench)
{
	struct bench second = *bench;
	char *error = NULL;

	CHECK(!bench_start(&second, &error));
	CHECK(error && strstr(error, "in use by another process"));
	free(error);
}

// Exchanges the row of the format number for another one.
static void format_swap(const char *path, uint8_t row[16], size_t *size)
{
	uint8_t old[16];
	size_t old_size;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi meta;
	MDB_val key = {6, (void *)(uintptr_t)"format"}, value;

	CHECK_EQ(mdb_env_create(&env), 0);
	CHECK_EQ(mdb_env_set_maxdbs(env, 16), 0);
	CHECK_EQ(mdb_env_open(env, path, 0, 0600), 0);
	CHECK_EQ(mdb_txn_begin(env, NULL, 0, &txn), 0);
	CHECK_EQ(mdb_dbi_open(txn, "meta", 0, &meta), 0);
	CHECK_EQ(mdb_get(txn, meta, &key, &value), 0);
	old_size = value.mv_size;
	CHECK(old_size <= sizeof old);
	memcpy(old, value.mv_data, old_size);
	value = (MDB_val){*size, row};
	CHECK_EQ(mdb_put(txn, meta, &key, &value, 0), 0);
	CHECK_EQ(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	memcpy(row, old, old_size);
	*size = old_size;
}

// A number of format 1 had no checksum; one of ours with a wrong one is damage.
void another_format_is_refused(struct bench *bench)
{
	static const char *const names[] = {"d1", "d2"};
	static const struct {
		size_t size;
		const char *text;
	} rows[] = {{8, "has format 1"}, {12, "damaged"}};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(names); ++i) {
		char path[120], *error = NULL;
		uint8_t row[16] = {1};
		size_t size = rows[i / 2].size;

		snprintf(path, sizeof path, "%s/%s", bench->dir, names[i % 2]);
		bench_stop(bench);
		format_swap(path, row, &size);
		CHECK(!bench_start(bench, &error));
		CHECK(error && strstr(error, rows[i / 2].text));
		free(error);
		format_swap(path, row, &size);
		CHECK(bench_start(bench, NULL));
	}
}

void damage_is_refused(struct bench *bench)
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

void wrong_options_are_refused(struct bench *bench)
{
	static const char *const wrong[] = {"{\"map_byte\": 1}", "{\"map_bytes\": 1}",
					    "{\"map_bytes\": \"1\"}", "[]", "nonsense"};

	expect_refused(bench, wrong, ARRAY_SIZE(wrong));
}

void wrong_kafka_options_are_refused(struct bench *bench)
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

void a_full_map_refuses_and_recovers(struct bench *bench)
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
void a_failing_disk_refuses(struct bench *bench)
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

// The meta page was being written: what the disk holds is not known. The store says so, serves
// nothing more, and a restart finds it whole.
void a_doubtful_commit_is_unknown(struct bench *bench)
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

#define OTHER_BOOT "another-boot ea201241\n"

static void mark_write(const struct bench *bench, const char *line)
{
	char path[120];
	FILE *file;

	snprintf(path, sizeof path, "%s/d1/boot", bench->dir);
	file = fopen(path, "w");
	CHECK(file);
	fputs(line, file);
	fclose(file);
}

static void expect_closed_messages(struct bench *bench, const struct topic *topic,
				   json_int_t messages)
{
	json_t *answer = bench_describe(bench, topic, NULL);

	CHECK_EQ(sum_of(answer, "end") - sum_of(answer, "first"), messages);
	json_decref(answer);
}

// The directory that was set aside, moved back as the log says.
static void torn_take_back(const struct bench *bench)
{
	char command[400];

	snprintf(command, sizeof command, "cd '%s' && mv d1 d1.new && mv d1.torn-* d1", bench->dir);
	CHECK_EQ(system(command), 0);
}

void a_torn_d1_store_is_set_aside(struct bench *bench)
{
	struct topic_wish wish = {.durability = DURABILITY_D1};
	const struct topic *topic = bench_topic(bench, &wish);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct message message = {.number = 5, .body = TEXT("x")};
	struct reader *reader;
	struct got before, after;

	bench_fill(bench, topic, 0, 0, 10);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 1, 1 << 20);
	take_all(reader, &before, 1);
	reader_close(reader);
	bench_stop(bench);
	mark_write(bench, OTHER_BOOT); // as a machine leaves it that went down
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
	bench_stop(bench);
	torn_take_back(bench);
	CHECK(bench_start(bench, NULL));
	expect_closed_messages(bench, topic, 10);
	expect_closed_backlog(bench, group, topic, 10, 0, 0);
	models_end(topic, group);
}

// A daemon that was killed while it wrote its mark, and a mark with a flipped bit: the messages are
// there, and are served.
void an_unreadable_mark_is_no_other_boot(struct bench *bench)
{
	static const char *const marks[] = {"",
					    "\n",
					    "another-boo",
					    "another-boot",
					    " ea201241\n",
					    "another-boat ea201241\n",
					    "another-boot ea201241"};
	struct topic_wish wish = {.durability = DURABILITY_D1};
	const struct topic *topic = bench_topic(bench, &wish);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);

	bench_fill(bench, topic, 0, 0, 10);
	for (size_t i = 0; i < ARRAY_SIZE(marks); ++i) {
		bench_stop(bench);
		mark_write(bench, marks[i]);
		CHECK(bench_start(bench, NULL));
		expect_closed_backlog(bench, group, topic, 10, 0, 0);
	}
	models_end(topic, group);
}
