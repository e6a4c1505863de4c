// Messages of the embedded store that are missing or damaged: said, never passed over silently, and
// given up when an operator says so.

#include "tests/contract/promises.h"

#include "core/base/util.h"
#include "tests/contract/steps.h"

#include <fcntl.h>
#include <lmdb.h>

#define RUN 100u // messages of a chunk

// What is done to the chunk of offsets RUN to 2 * RUN while the store is closed.
enum harm { HARM_GONE, HARM_KEY, HARM_COUNT, HARM_RECORD, HARMS };

// A table of a store whose process has closed it.
struct opened {
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi table;
};

static void store_path(const struct bench *bench, bool d1, const char *file, char path[120])
{
	snprintf(path, 120, "%s/%s%s", bench->dir, d1 ? "d1" : "d2", file);
}

static void table_open(const struct bench *bench, bool d1, const char *table, struct opened *ret)
{
	char path[120];

	store_path(bench, d1, "", path);
	CHECK_EQ(mdb_env_create(&ret->env), 0);
	CHECK_EQ(mdb_env_set_maxdbs(ret->env, 16), 0);
	CHECK_EQ(mdb_env_open(ret->env, path, 0, 0600), 0);
	CHECK_EQ(mdb_txn_begin(ret->env, NULL, 0, &ret->txn), 0);
	CHECK_EQ(mdb_dbi_open(ret->txn, table, 0, &ret->table), 0);
}

static void table_close(struct opened *opened)
{
	CHECK_EQ(mdb_txn_commit(opened->txn), 0);
	mdb_env_close(opened->env);
}

static void chunk_key(const struct topic *topic, uint64_t offset, uint8_t bytes[20])
{
	uint64_t id = __builtin_bswap64(topic->object.id), big = __builtin_bswap64(offset);

	memset(bytes, 0, 20);
	memcpy(bytes, &id, 8);
	memcpy(bytes + 12, &big, 8);
}

static void chunk_harm(const struct bench *bench, const struct topic *topic, uint64_t offset,
		       enum harm harm)
{
	uint8_t bytes[20], row[65536];
	MDB_val key = {sizeof bytes, bytes}, value;
	struct opened chunks;

	chunk_key(topic, offset, bytes);
	table_open(bench, bench->durability == DURABILITY_D1, "chunks", &chunks);
	CHECK_EQ(mdb_get(chunks.txn, chunks.table, &key, &value), 0);
	CHECK(value.mv_size < sizeof row);
	memcpy(row, value.mv_data, value.mv_size);
	value.mv_data = row;
	if (harm <= HARM_KEY)
		CHECK_EQ(mdb_del(chunks.txn, chunks.table, &key, NULL), 0);
	bytes[17] ^= harm == HARM_KEY;
	row[8] ^= harm == HARM_COUNT;
	row[value.mv_size - 1] ^= harm == HARM_RECORD;
	if (harm != HARM_GONE)
		CHECK_EQ(mdb_put(chunks.txn, chunks.table, &key, &value, 0), 0);
	table_close(&chunks);
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
	chunk_harm(bench, topic, RUN, harm);
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

static void runs_fill(struct bench *bench, const struct topic *topic, uint32_t runs)
{
	for (uint32_t i = 0; i < runs; ++i)
		bench_fill(bench, topic, 0, i * RUN, RUN);
}

static bool chunk_is_there(const struct bench *bench, const struct topic *topic, uint64_t offset)
{
	uint8_t bytes[20];
	MDB_val key = {sizeof bytes, bytes}, value;
	struct opened chunks;
	int r;

	chunk_key(topic, offset, bytes);
	table_open(bench, bench->durability == DURABILITY_D1, "chunks", &chunks);
	r = mdb_get(chunks.txn, chunks.table, &key, &value);
	table_close(&chunks);
	return r == 0;
}

// Rows that are damaged too, and lie next to what is given up, belong to another topic.
void only_what_was_named_is_given_up(struct bench *bench)
{
	const struct topic *other = plain_topic(bench, 1), *topic = plain_topic(bench, 1);

	CHECK(other->object.id < topic->object.id);
	runs_fill(bench, other, 2);
	runs_fill(bench, topic, 2);
	bench_stop(bench);
	chunk_harm(bench, other, 0, HARM_COUNT);
	chunk_harm(bench, other, RUN, HARM_COUNT);
	chunk_harm(bench, topic, 0, HARM_COUNT);
	CHECK(bench_start(bench, NULL));
	bench->ops->topic_close(bench->ops->topic_open(bench->adapter, topic)); // which finds it
	CHECK_EQ(damaged(bench), 1);
	json_decref(bench_skip(bench, topic, false, NULL));
	CHECK_EQ(damaged(bench), 0);
	bench_stop(bench);
	CHECK(chunk_is_there(bench, other, 0));
	CHECK(chunk_is_there(bench, other, RUN));
	CHECK(bench_start(bench, NULL));
	models_end(topic, NULL);
	models_end(other, NULL);
}

// Changes a bit wherever the key of a chunk stands in the file, under the open store.
static void key_flip(const struct bench *bench, const struct topic *topic, uint64_t offset,
		     size_t byte)
{
	static uint8_t file[16u << 20];
	uint8_t bytes[20], *at = file;
	char path[120];
	ssize_t size;
	int fd;

	store_path(bench, bench->durability == DURABILITY_D1, "/data.mdb", path);
	chunk_key(topic, offset, bytes);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	size = pread(fd, file, sizeof file, 0);
	CHECK(size > 0 && (size_t)size < sizeof file);
	while ((at = memmem(at, (size_t)(file + size - at), bytes, sizeof bytes))) {
		at[byte] ^= 1;
		CHECK_EQ(pwrite(fd, at + byte, 1, at + byte - file), 1);
	}
	close(fd);
}

static void flipped_once(struct bench *bench, size_t byte)
{
	const struct topic *topic = plain_topic(bench, 1);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader;

	runs_fill(bench, topic, 4);
	key_flip(bench, topic, RUN, byte);
	reader = reader_open(bench, topic, group);
	reader_demand(reader, 4 * RUN, 1 << 20);
	CHECK(reader_wait_state(reader, SOURCE_DOWN, SHORT_MS));
	reader_close(reader);
	expect_range(bench_skip(bench, topic, true, NULL));
	expect_range(bench_skip(bench, topic, false, NULL));
	CHECK_EQ(damaged(bench), 0);
	reader = reader_open(bench, topic, group);
	take_runs(reader, 0, RUN);
	take_runs(reader, 2 * RUN, 2 * RUN);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_close(reader);
	models_end(topic, group);
}

// A key that sorts behind or before its neighbours hides them from a search; they are whole.
void a_key_out_of_order_costs_its_own_messages(struct bench *bench)
{
	static const size_t bytes[] = {0, 7, 8, 12, 18};

	for (size_t i = 0; i < ARRAY_SIZE(bytes); ++i)
		flipped_once(bench, bytes[i]);
}

static void row_harm(const struct bench *bench, const struct topic *topic, bool gone)
{
	uint64_t id = __builtin_bswap64(topic->object.id);
	MDB_val key = {sizeof id, &id}, value;
	struct opened topics;
	uint8_t row[400];

	table_open(bench, false, "topics", &topics);
	CHECK_EQ(mdb_get(topics.txn, topics.table, &key, &value), 0);
	CHECK(value.mv_size <= sizeof row);
	memcpy(row, value.mv_data, value.mv_size);
	row[13] ^= 1;
	value.mv_data = row;
	if (gone)
		CHECK_EQ(mdb_del(topics.txn, topics.table, &key, NULL), 0);
	else
		CHECK_EQ(mdb_put(topics.txn, topics.table, &key, &value, 0), 0);
	table_close(&topics);
}

static void expect_row(json_t *answer)
{
	CHECK_EQ(json_array_size(json_object_get(answer, "partitions")), 0);
	CHECK(json_is_true(json_object_get(answer, "row")));
	json_decref(answer);
}

static void row_lost_once(struct bench *bench, bool gone)
{
	const struct topic *topic = plain_topic(bench, 3);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct reader *reader;
	enum code code;

	runs_fill(bench, topic, 2);
	reader = reader_open(bench, topic, group);
	take_runs(reader, 0, RUN);
	reader_close(reader);
	bench_stop(bench);
	row_harm(bench, topic, gone);
	CHECK(bench_start(bench, NULL));
	CHECK(!bench->ops->topic_open(bench->adapter, topic));
	CHECK_EQ(damaged(bench), gone ? 0 : 1); // a missing one: TOPIC-MISSING says it
	expect_row(bench_skip(bench, topic, true, NULL));
	CHECK(!bench->ops->topic_open(bench->adapter, topic));
	expect_row(bench_skip(bench, topic, false, NULL));
	CHECK_EQ(damaged(bench), 0);
	bench_reopen(bench);
	reader = reader_open(bench, topic, group);
	take_runs(reader, RUN, RUN);
	expect_backlog(reader, 0, 0, 0, 0);
	reader_close(reader);
	CHECK_EQ(bench_topic_delete(bench, topic), CODE_OK);
	json_decref(bench_skip(bench, topic, false, &code));
	CHECK_EQ(code, CODE_NOT_FOUND); // nothing of it is there
	models_end(topic, group);
}

void a_damaged_row_of_a_topic_is_made_anew(struct bench *bench)
{
	row_lost_once(bench, false);
	row_lost_once(bench, true);
}
