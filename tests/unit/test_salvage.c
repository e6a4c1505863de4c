// A store with a flipped bit is salvaged: what is not in the new one is
// known to be missing, and what is in it is what was written.
//
// MQPAAS_LONG makes 2,000 flips instead of 120.

#include "adapters/store/chunk.h"
#include "adapters/store/cursor.h"
#include "adapters/store/partition_row.h"
#include "adapters/store/row.h"
#include "adapters/store/salvage.h"
#include "core/base/log.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#define TOPICS     3u
#define PARTITIONS 4u
#define CHUNKS     60u // of a partition
#define COUNT      10u // messages of a chunk
#define PAGE       4096u
#define FLIPS      120u
#define FLIPS_LONG 2000u
#define GROUP(t)   (100u + (t))

static char directory[64], path[80], file[100], base[80];
static struct store *store;

static void line_drop(void *ctx, enum log_level level, const char *line, size_t size)
{
}

static int store_begin(void)
{
	char *error = NULL;
	int r = store_open(path, NULL, 64u << 20, &store, &error);

	free(error);
	return r;
}

static size_t chunk_size(uint32_t number)
{
	return number % 7 == 0 ? 9000 : 100; // with pages of its own, and within one
}

static void chunk_put(MDB_txn *txn, uint64_t topic, uint32_t partition, uint32_t number)
{
	static union {
		struct store_chunk chunk;
		uint8_t bytes[sizeof(struct store_chunk) + 9000];
	} row;
	uint8_t bytes[STORE_KEY];
	size_t size = chunk_size(number);
	MDB_val key = {sizeof bytes, bytes}, value = {sizeof row.chunk + size, &row};

	memset(row.chunk.records, (int)(number + partition), size);
	row.chunk.count = COUNT;
	store_key(bytes, topic, partition, (uint64_t)number * COUNT);
	chunk_seal(&key, &row.chunk, size);
	CHECK_EQ(mdb_put(txn, store->chunks, &key, &value, 0), 0);
}

static void partition_put(MDB_txn *txn, uint64_t topic, uint32_t partition)
{
	struct store_partition_row row = {.end = CHUNKS * COUNT, .stored_ms = 1764000000000};
	struct log_cursor cursor = {.partition = partition, .position = 5, .text = (char *)"text"};
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes};

	store_key(bytes, topic, partition, 0);
	CHECK_EQ(row_put(txn, store->partitions, &key, &row, sizeof row), 0);
	CHECK_EQ(cursor_put(store, txn, GROUP(topic), &cursor), 0);
	for (uint32_t i = 0; i < CHUNKS; ++i)
		chunk_put(txn, topic, partition, i);
}

static void topic_put(MDB_txn *txn, uint64_t topic)
{
	struct store_topic_row row = {
		.incarnation = 1, .partitions = PARTITIONS, .durability = DURABILITY_D2};
	struct store_group_row group = {.incarnation = 1, .topic = topic};
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes};

	store_key(bytes, topic, 0, 0);
	CHECK_EQ(row_put(txn, store->topics, &key, &row, sizeof row), 0);
	store_key(bytes, GROUP(topic), 0, 0);
	CHECK_EQ(row_put(txn, store->groups, &key, &group, sizeof group), 0);
	for (uint32_t i = 0; i < PARTITIONS; ++i)
		partition_put(txn, topic, i);
}

PRINTF_LIKE(1, 2) static void command(const char *format, ...)
{
	char text[300];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	CHECK_EQ(system(text), 0);
}

// The store, and a copy of its file beside it.
static void begin(void)
{
	MDB_txn *txn;

	log_set_sink(line_drop, NULL);
	unit_directory(directory);
	snprintf(path, sizeof path, "%s/d2", directory);
	snprintf(file, sizeof file, "%s/data.mdb", path);
	snprintf(base, sizeof base, "%s/base", directory);
	CHECK_EQ(store_begin(), 0);
	for (uint64_t topic = 1; topic <= TOPICS; ++topic) {
		CHECK_EQ(store_write_begin(store, &txn), 0);
		topic_put(txn, topic);
		CHECK_EQ(mdb_txn_commit(txn), 0);
	}
	store_close(store);
	command("cp '%s' '%s'", file, base);
}

static void end(void)
{
	command("rm -rf '%s'", directory);
	log_set_sink(NULL, NULL);
}

// ---- what is there afterwards

static bool is_missing(const json_t *report, uint64_t topic, uint32_t partition, uint64_t offset)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(report, "missing"), i, row)
	{
		if (json_integer_value(json_object_get(row, "topic")) == (json_int_t)topic &&
		    json_integer_value(json_object_get(row, "partition")) == partition &&
		    json_integer_value(json_object_get(row, "first")) <= (json_int_t)offset &&
		    json_integer_value(json_object_get(row, "end")) > (json_int_t)offset)
			return true;
	}
	return false;
}

static void expect_chunk(MDB_txn *txn, const json_t *report, uint64_t topic, uint32_t partition,
			 uint32_t number)
{
	uint64_t offset = (uint64_t)number * COUNT;
	struct chunk_view chunk;
	MDB_cursor *cursor;
	int r;

	CHECK_EQ(mdb_cursor_open(txn, store->chunks, &cursor), 0);
	r = chunk_seek(cursor, topic, partition, offset, &chunk);
	if (r == 0 && chunk.offset == offset && chunk_is_whole(&chunk)) {
		CHECK_EQ(chunk.size, chunk_size(number));
		CHECK_EQ(chunk.records[chunk.size - 1], (uint8_t)(number + partition));
	} else {
		CHECK(is_missing(report, topic, partition, offset));
	}
	mdb_cursor_close(cursor);
}

static bool group_is_there(MDB_txn *txn, uint64_t topic)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes}, value;

	store_key(bytes, GROUP(topic), 0, 0);
	return row_get(txn, store->groups, &key, sizeof(struct store_group_row), &value) == 0;
}

// A partition whose row is lost goes on behind what it had, wherever its chunks end.
static void expect_partition(MDB_txn *txn, const json_t *report, uint64_t topic, uint32_t partition)
{
	struct store_partition_row row;
	struct log_cursor cursor;
	int r;

	CHECK_EQ(partition_row_read(store, txn, topic, partition, &row), 0);
	CHECK_EQ(row.first, 0);
	CHECK(row.end >= CHUNKS * COUNT);
	for (uint32_t i = 0; i < CHUNKS; ++i)
		expect_chunk(txn, report, topic, partition, i);
	r = cursor_get(store, txn, GROUP(topic), partition, &cursor);
	CHECK(r == 0 || r == -EUCLEAN);
	if (r == 0 && group_is_there(txn, topic)) // else it cannot be opened
		CHECK_EQ(cursor.position, 5);
	free(cursor.text);
}

static unsigned rows_lost, offsets_lost;

static void expect_topic(MDB_txn *txn, const json_t *report, uint64_t topic)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes}, value;
	int r;

	store_key(bytes, topic, 0, 0);
	r = row_get(txn, store->topics, &key, sizeof(struct store_topic_row), &value);
	CHECK(r == 0 || r == -EUCLEAN); // a damaged one is said; one that is not there would not be
	rows_lost += r != 0;
	for (uint32_t i = 0; i < PARTITIONS; ++i)
		expect_partition(txn, report, topic, i);
}

// false: there was nothing to begin from.
static bool salvaged(void)
{
	char *error = NULL;
	json_t *report = NULL;
	MDB_txn *txn;
	int r = salvage_store(path, &report, &error);

	CHECK_EQ(r == 0, error == NULL);
	free(error);
	if (r) {
		CHECK_EQ(r, -EUCLEAN);
		return false;
	}
	CHECK_EQ(store_begin(), 0);
	CHECK_EQ(store_read_begin(store, &txn), 0);
	for (uint64_t topic = 1; topic <= TOPICS; ++topic)
		expect_topic(txn, report, topic);
	offsets_lost += json_array_size(json_object_get(report, "missing")) > 0;
	mdb_txn_abort(txn);
	store_close(store);
	json_decref(report);
	return true;
}

static void copy_begin(void)
{
	command("rm -rf '%s'*; mkdir '%s'; cp '%s' '%s'", path, path, base, file);
}

static void flip(off_t at, unsigned bit)
{
	int fd = open(file, O_RDWR);
	uint8_t byte;

	CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= (uint8_t)(1u << bit);
	CHECK_EQ(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static uint64_t draw(uint64_t *state, uint64_t below)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (*state >> 20) % below;
}

static uint64_t pages(void)
{
	struct stat state;

	CHECK_EQ(stat(base, &state), 0);
	return (uint64_t)state.st_size / PAGE;
}

// A page of a tree; `small`: that holds no chunks.
static uint64_t tree_draw(uint64_t *state, uint64_t count, bool small)
{
	int fd = open(base, O_RDONLY);
	uint8_t bytes[PAGE];
	uint64_t page;
	bool good;

	CHECK(fd >= 0);
	do {
		page = draw(state, count);
		CHECK_EQ(pread(fd, bytes, sizeof bytes, (off_t)(page * PAGE)), sizeof bytes);
		good = page >= 2 && le64_get(bytes) == page && le16_get(bytes + 10) <= 2;
		if (good && small)
			good = le16_get(bytes + le16_get(bytes + 16) + 6) != STORE_KEY;
	} while (!good);
	close(fd);
	return page;
}

// A byte of a page, where something stands.
static off_t byte_draw(uint64_t *state, uint64_t page)
{
	int fd = open(base, O_RDONLY);
	uint8_t head[16];
	uint64_t at;

	CHECK(fd >= 0 && pread(fd, head, sizeof head, (off_t)(page * PAGE)) == sizeof head);
	close(fd);
	do {
		at = draw(state, PAGE);
	} while (at >= le16_get(head + 12) && at < le16_get(head + 14));
	return (off_t)(page * PAGE + at);
}

static off_t place_draw(uint64_t *state, uint64_t count)
{
	uint64_t page = draw(state, count);

	if (draw(state, 10))
		return byte_draw(state, tree_draw(state, count, draw(state, 2)));
	return (off_t)(page * PAGE + draw(state, page < 2 ? 160 : PAGE));
}

// One bit, and in every third round three.
static void flips_are_salvaged(void)
{
	uint32_t flips = getenv("MQPAAS_LONG") ? FLIPS_LONG : FLIPS;
	uint64_t state = 4711, count;

	begin();
	count = pages();
	rows_lost = offsets_lost = 0;
	for (uint32_t i = 0; i < flips; ++i) {
		copy_begin();
		for (uint32_t bits = i % 3 ? 1 : 3; bits; --bits)
			flip(place_draw(&state, count), (unsigned)draw(&state, 8));
		salvaged();
	}
	fprintf(stderr, "%u rounds: in %u messages are missing; %u rows of topics are lost\n",
		flips, offsets_lost, rows_lost);
	CHECK(offsets_lost > 0 && rows_lost > 0);
	end();
}

UNIT_MAIN(UNIT_CASE(flips_are_salvaged))
