// Messages of the embedded store that are missing or damaged: said, passed over by nobody, and
// given up when an operator says so.

#include "tests/contract/promises.h"

#include "core/base/util.h"
#include "tests/contract/steps.h"

#include <lmdb.h>

#define RUN 100u // messages of a chunk

// What is done to the chunk of offsets RUN to 2 * RUN while the store is closed.
enum harm { HARM_GONE, HARM_KEY, HARM_COUNT, HARM_RECORD, HARMS };

static void chunk_harm(const struct bench *bench, const struct topic *topic, enum harm harm)
{
	char path[120];
	uint64_t id = __builtin_bswap64(topic->object.id), offset = __builtin_bswap64(RUN);
	uint8_t bytes[20] = {0}, row[65536];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi chunks;

	memcpy(bytes, &id, 8);
	memcpy(bytes + 12, &offset, 8);
	snprintf(path, sizeof path, "%s/%s", bench->dir,
		 bench->durability == DURABILITY_D1 ? "d1" : "d2");
	CHECK_EQ(mdb_env_create(&env), 0);
	CHECK_EQ(mdb_env_set_maxdbs(env, 16), 0);
	CHECK_EQ(mdb_env_open(env, path, 0, 0600), 0);
	CHECK_EQ(mdb_txn_begin(env, NULL, 0, &txn), 0);
	CHECK_EQ(mdb_dbi_open(txn, "chunks", 0, &chunks), 0);
	CHECK_EQ(mdb_get(txn, chunks, &key, &value), 0);
	CHECK(value.mv_size < sizeof row);
	memcpy(row, value.mv_data, value.mv_size);
	value.mv_data = row;
	if (harm <= HARM_KEY)
		CHECK_EQ(mdb_del(txn, chunks, &key, NULL), 0);
	bytes[17] ^= harm == HARM_KEY;
	row[8] ^= harm == HARM_COUNT;
	row[value.mv_size - 1] ^= harm == HARM_RECORD;
	if (harm != HARM_GONE)
		CHECK_EQ(mdb_put(txn, chunks, &key, &value, 0), 0);
	CHECK_EQ(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static uint64_t damaged(const struct bench *bench)
{
	struct adapter_state state;

	bench->ops->state(bench->adapter, &state);
	CHECK_EQ(state.health, state.damaged_open ? ADAPTER_DEGRADED : ADAPTER_READY);
	return state.damaged_open;
}

static void expect_range(json_t *answer)
{
	const json_t *rows = json_object_get(answer, "partitions"), *row = json_array_get(rows, 0);

	CHECK_EQ(json_array_size(rows), 1);
	CHECK_EQ(json_integer_value(json_object_get(row, "first")), RUN);
	CHECK_EQ(json_integer_value(json_object_get(row, "end")), 2 * RUN);
	json_decref(answer);
}

static void take_runs(struct reader *reader, uint32_t number, uint32_t count)
{
	static struct got got[4 * RUN];

	reader_demand(reader, count, 1 << 20);
	take_all(reader, got, count);
	for (uint32_t i = 0; i < count; ++i)
		CHECK_EQ(got[i].number, number + i);
	ack_all(reader, got, count);
	reader_drop(got, count);
}

static void harmed_once(struct bench *bench, enum harm harm)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader;

	for (uint32_t i = 0; i < 4; ++i)
		bench_fill(bench, topic, 0, i * RUN, RUN);
	bench_stop(bench);
	chunk_harm(bench, topic, harm);
	CHECK(bench_start(bench, NULL));
	reader = reader_open(bench, topic, group);
	take_runs(reader, 0, RUN);
	reader_demand(reader, 4 * RUN, 1 << 20);
	CHECK(reader_wait_state(reader, SOURCE_DOWN, SHORT_MS));
	expect_quiet(reader);
	CHECK_EQ(damaged(bench), 1);
	expect_range(bench_skip(bench, topic, true, NULL));
	CHECK_EQ(damaged(bench), 1);
	reader_close(reader);
	bench_reopen(bench);
	CHECK_EQ(damaged(bench), 1); // it is known after a restart
	expect_range(bench_skip(bench, topic, false, NULL));
	CHECK_EQ(damaged(bench), 0);
	reader = reader_open(bench, topic, group);
	take_runs(reader, 2 * RUN, 2 * RUN);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_close(reader);
	models_end(topic, group);
}

void damaged_messages_are_said_and_given_up(struct bench *bench)
{
	for (enum harm harm = 0; harm < HARMS; ++harm)
		harmed_once(bench, harm);
}
