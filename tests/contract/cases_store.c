// The tables of the embedded store after deletions and when it is full: no row is left behind that
// would come to life again, and none is passed over that could not be written.

#include "tests/contract/promises.h"

#include "core/base/clock.h"
#include "tests/contract/steps.h"

#include <lmdb.h>
#include <sys/stat.h>

#define WAITING 10u
#define HOUR_MS (3600 * 1000)

// Rows of a table; the store is closed meanwhile.
static size_t table_rows(struct bench *bench, const char *name)
{
	char path[120];
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi table;
	MDB_stat stat;

	bench_stop(bench);
	snprintf(path, sizeof path, "%s/%s", bench->dir,
		 bench->durability == DURABILITY_D1 ? "d1" : "d2");
	CHECK_EQ(mdb_env_create(&env), 0);
	CHECK_EQ(mdb_env_set_maxdbs(env, 16), 0);
	CHECK_EQ(mdb_env_open(env, path, 0, 0600), 0);
	CHECK_EQ(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
	CHECK_EQ(mdb_dbi_open(txn, name, 0, &table), 0);
	CHECK_EQ(mdb_stat(txn, table, &stat), 0);
	mdb_txn_abort(txn);
	mdb_env_close(env);
	CHECK(bench_start(bench, NULL));
	return stat.ms_entries;
}

// Messages wait for an hour in the retry store of the group.
static void fill_retries(struct bench *bench, const struct topic *topic, const struct group *group)
{
	struct reader *reader = reader_open(bench, topic, group);
	struct got got[WAITING];

	bench_fill(bench, topic, 0, 0, WAITING);
	reader_demand(reader, WAITING, 1 << 20);
	take_all(reader, got, WAITING);
	for (uint32_t i = 0; i < WAITING; ++i)
		settle(reader, &got[i], SETTLE_NACK, HOUR_MS);
	reader_drop(got, WAITING);
	reader_close(reader);
	CHECK_EQ(table_rows(bench, "retries"), WAITING);
	CHECK_EQ(table_rows(bench, "dues"), WAITING);
}

static void expect_no_rows(struct bench *bench)
{
	CHECK_EQ(table_rows(bench, "retries"), 0);
	CHECK_EQ(table_rows(bench, "dues"), 0);
}

void a_deleted_group_leaves_no_rows(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);

	fill_retries(bench, topic, group);
	CHECK_EQ(bench_group_delete(bench, group, topic), CODE_OK);
	expect_no_rows(bench);
	CHECK_EQ(table_rows(bench, "cursors"), 0);
	models_end(topic, group);
}

void a_reset_leaves_no_rows(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);

	fill_retries(bench, topic, group);
	json_decref(
		bench_reset(bench, group, topic, json_pack("{s:b}", "earliest", 1), false, NULL));
	expect_no_rows(bench);
	expect_closed_backlog(bench, group, topic, WAITING, 0, 0);
	models_end(topic, group);
}

// What comes out of the retry store takes its due time along.
void an_ack_leaves_no_rows(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct message message = {.body = TEXT("x"), .due_ms = clock_wall_ms() + 400};
	struct reader *reader = reader_open(bench, topic, group);
	struct got got;

	bench_send_ok(bench, topic, &message, 1);
	reader_demand(reader, 1, 1 << 20);
	take_all(reader, &got, 1);
	ack_all(reader, &got, 1);
	reader_drop(&got, 1);
	reader_close(reader);
	expect_no_rows(bench);
	models_end(topic, group);
}

static json_int_t all_of(json_t *answer)
{
	json_int_t sum =
		sum_of(answer, "ready") + sum_of(answer, "retrying") + sum_of(answer, "delayed");

	json_decref(answer);
	return sum;
}

// A nack that finds no room for its row is refused, and no position passes it.
void a_full_store_keeps_what_it_cannot_put_aside(struct bench *bench)
{
	static uint8_t body[60000];
	struct message message = {.body = {body, sizeof body}};
	const struct topic *topic;
	const struct group *group;
	struct reader *reader;
	struct settle nack;
	struct bench small;
	struct sent sent;
	struct got got[3];
	json_int_t stored = 0;
	char dir[120];

	snprintf(dir, sizeof dir, "%s/small", bench->dir);
	CHECK_EQ(mkdir(dir, 0700), 0);
	bench_open(&small, "embedded", bench->durability, dir, "{\"map_bytes\": 16777216}");
	topic = plain_topic(&small, 1);
	group = bench_group(&small, topic, GROUP_START_EARLIEST, 0);
	for (;; ++stored) {
		bench_send(&small, topic, &message, 1, &sent);
		if (sent.runs[0].outcome != OUTCOME_OK)
			break;
	}
	reader = reader_open(&small, topic, group);
	reader_demand(reader, 3, 1 << 20);
	take_all(reader, got, 3);
	nack = reader_receipt(&got[0], SETTLE_NACK, HOUR_MS);
	CHECK_EQ(reader_settle(reader, &nack, 1), CODE_BACKEND_FULL);
	for (size_t i = 1; i < 3; ++i) {
		struct settle ack = reader_receipt(&got[i], SETTLE_ACK, 0);

		reader_settle_soon(reader, &ack, 1);
	}
	reader_drop(got, 3);
	usleep(1200 * 1000); // it is written again every second
	reader_close(reader);
	bench_reopen(&small);
	CHECK(all_of(bench_backlog(&small, group, topic, NULL)) >= stored - 2);
	models_end(topic, group);
	bench_leave(&small);
}
