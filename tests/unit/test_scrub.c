// The scrub's pass over a store of several slices: it goes on after a restart where it stopped,
// also where pages are out of order.

#include "adapters/store/chunk.h"
#include "adapters/store/damage.h"
#include "adapters/store/row.h"
#include "adapters/store/scrub.h"
#include "adapters/store/scrub_mark.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define TOPIC  7u
#define CHUNKS 400u
#define BYTES  20000u // of the records of a chunk
#define PASS   ((uint64_t)CHUNKS * BYTES)

static char directory[64];
static struct store *store;

static void store_begin(void)
{
	char *error = NULL;

	CHECK_EQ(store_open(directory, NULL, 64u << 20, &store, &error), 0);
}

static void chunk_put(MDB_txn *txn, uint32_t number)
{
	static union {
		struct store_chunk chunk;
		uint8_t bytes[sizeof(struct store_chunk) + BYTES];
	} row;
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value = {sizeof row, &row};

	row.chunk.count = 1;
	store_key(bytes, TOPIC, 0, number);
	chunk_seal(&key, &row.chunk, BYTES);
	CHECK_EQ(mdb_put(txn, store->chunks, &key, &value, 0), 0);
}

// One partition of CHUNKS chunks.
static void begin(void)
{
	struct store_partition_row row = {.end = CHUNKS, .bytes = PASS};
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes};
	MDB_txn *txn;

	unit_directory(directory);
	store_begin();
	CHECK_EQ(store_write_begin(store, &txn), 0);
	store_key(bytes, TOPIC, 0, 0);
	CHECK_EQ(row_put(txn, store->partitions, &key, &row, sizeof row), 0);
	for (uint32_t i = 0; i < CHUNKS; ++i)
		chunk_put(txn, i);
	CHECK_EQ(mdb_txn_commit(txn), 0);
}

static void end(void)
{
	char command[100];

	store_close(store);
	snprintf(command, sizeof command, "rm -rf '%s'", directory);
	CHECK_EQ(system(command), 0);
}

static struct scrub *scrub_of_store(void)
{
	struct scrub *scrub;

	CHECK_EQ(scrub_start(&store, 1, 0, &scrub), 0);
	return scrub;
}

static struct scrub_state state_of(struct scrub *scrub)
{
	struct scrub_state state;

	scrub_state(scrub, &state);
	return state;
}

// Reads until `bytes` are read, or the pass is over. Returns how many were.
static uint64_t read_some(struct scrub *scrub, uint64_t bytes)
{
	uint64_t before = state_of(scrub).bytes;

	while (state_of(scrub).bytes < before + bytes && state_of(scrub).passes == 0)
		scrub_slice(scrub);
	return state_of(scrub).bytes - before;
}

static void restart(struct scrub **scrub)
{
	scrub_stop(*scrub);
	store_close(store);
	store_begin();
	*scrub = scrub_of_store();
}

static void a_pass_goes_on_after_a_restart(void)
{
	struct scrub *scrub;
	uint64_t bytes = 0;

	begin();
	scrub = scrub_of_store();
	for (unsigned i = 0; i < 20 && state_of(scrub).passes == 0; ++i) {
		if (i > 0)
			restart(&scrub);
		CHECK_EQ(state_of(scrub).progress > 0, i > 0);
		bytes += read_some(scrub, PASS / 8);
	}
	CHECK_EQ(state_of(scrub).passes, 1);
	CHECK(bytes >= PASS && bytes < PASS + PASS / 4);
	CHECK_EQ(damage_list_open(store->damages), 0);
	scrub_stop(scrub);
	end();
}

static void byte_change(const char *name, off_t at)
{
	char path[100];
	uint8_t byte;
	int fd;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= 1;
	CHECK_EQ(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

// In every byte of the mark.
static void expect_every_flip_seen(void)
{
	struct scrub_mark mark;
	struct stat state;
	char path[100];

	snprintf(path, sizeof path, "%s/scrub", directory);
	CHECK_EQ(stat(path, &state), 0);
	CHECK(scrub_mark_read(path, &mark));
	for (off_t at = 0; at < state.st_size; ++at) {
		byte_change("scrub", at);
		CHECK(!scrub_mark_read(path, &mark));
		byte_change("scrub", at);
	}
	CHECK(scrub_mark_read(path, &mark));
}

static void a_damaged_mark_begins_anew(void)
{
	struct scrub *scrub;

	begin();
	scrub = scrub_of_store();
	read_some(scrub, PASS / 2);
	scrub_stop(scrub);
	expect_every_flip_seen();
	byte_change("scrub", 50);
	scrub = scrub_of_store();
	CHECK(state_of(scrub).progress == 0);
	CHECK(read_some(scrub, UINT64_MAX / 2) >= PASS);
	scrub_stop(scrub);
	end();
}

// What is missing just behind the place is found when the pass goes on.
static void a_gap_at_the_place_is_found(void)
{
	struct scrub *scrub;
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes};
	uint32_t stopped;
	MDB_txn *txn;

	begin();
	scrub = scrub_of_store();
	stopped = (uint32_t)(read_some(scrub, PASS / 2) / BYTES);
	scrub_stop(scrub);
	CHECK_EQ(store_write_begin(store, &txn), 0);
	for (uint32_t i = stopped - 1; i < stopped + 2; ++i) { // one of them is the next one
		store_key(bytes, TOPIC, 0, i);
		CHECK_EQ(mdb_del(txn, store->chunks, &key, NULL), 0);
	}
	CHECK_EQ(mdb_txn_commit(txn), 0);
	scrub = scrub_of_store();
	read_some(scrub, UINT64_MAX / 2);
	CHECK_EQ(damage_list_open(store->damages), 1);
	scrub_stop(scrub);
	end();
}

// Where in the file the key of a chunk stands, from a place on; -1: nowhere any more. Only pages of
// trees are looked at.
static off_t key_find(const char *file, uint32_t number, off_t from)
{
	uint8_t page[4096], bytes[STORE_KEY];
	int fd = open(file, O_RDONLY);
	off_t found = -1;

	store_key(bytes, TOPIC, 0, number);
	for (off_t at = from & ~(off_t)4095; found < 0; at += sizeof page) {
		const uint8_t *hit = NULL;

		if (pread(fd, page, 16, at) != 16)
			break;
		if (le64_get(page) == (uint64_t)at / 4096 && le16_get(page + 10) <= 2 &&
		    pread(fd, page, sizeof page, at) == sizeof page)
			hit = memmem(page, sizeof page, bytes, sizeof bytes);
		if (hit && at + (hit - page) >= from)
			found = at + (hit - page);
	}
	close(fd);
	return found;
}

// A pass, in a bounded number of slices, each of which reads something.
static void pass_ends(void)
{
	struct scrub *scrub = scrub_of_store();

	for (uint32_t i = 0; i < 3 * CHUNKS && state_of(scrub).passes == 0; ++i)
		scrub_slice(scrub);
	CHECK_EQ(state_of(scrub).passes, 1);
	CHECK(state_of(scrub).bytes >= PASS - PASS / 10);
	scrub_stop(scrub);
}

static void changed_pass_ends(off_t at)
{
	byte_change("data.mdb", at);
	pass_ends();
	byte_change("data.mdb", at);
}

// Keys that sort before and behind their neighbours, in leaves and in the branches above: the rest
// of the table is read nevertheless, and the pass ends.
static void pages_out_of_order_do_not_hold_up_a_pass(void)
{
	static const off_t changes[] = {0, 12, 19};
	char file[100];

	begin();
	snprintf(file, sizeof file, "%s/data.mdb", directory);
	for (uint32_t number = 1; number < CHUNKS; ++number) {
		off_t at = key_find(file, number, 0), other = key_find(file, number, at + 1);

		for (size_t i = 0; i < ARRAY_SIZE(changes); ++i) {
			if (number % 50 == 0)
				changed_pass_ends(at + changes[i]);
			if (other >= 0) // it stands in a branch, too
				changed_pass_ends(at + changes[i]);
			if (other >= 0)
				changed_pass_ends(other + changes[i]);
		}
	}
	end();
}

UNIT_MAIN(UNIT_CASE(a_pass_goes_on_after_a_restart), UNIT_CASE(a_damaged_mark_begins_anew),
	  UNIT_CASE(a_gap_at_the_place_is_found),
	  UNIT_CASE(pages_out_of_order_do_not_hold_up_a_pass))
