// The look at a store's file before it is opened: whatever LMDB writes is whole, whatever is cut
// off or overwritten of what it needs is found.

#include "adapters/store/check.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define KEYS   3000u
#define ROUNDS 60u
#define TABLES 3u

static char directory[64], path[96];
static uint64_t state = 1;

static uint64_t draw(uint64_t below)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (state >> 33) % below;
}

static MDB_env *environment(void)
{
	MDB_env *env;

	CHECK_EQ(mdb_env_create(&env), 0);
	CHECK_EQ(mdb_env_set_maxdbs(env, TABLES), 0);
	CHECK_EQ(mdb_env_set_mapsize(env, 256u << 20), 0);
	CHECK_EQ(mdb_env_open(env, directory, MDB_NOSYNC, 0600), 0);
	return env;
}

// One transaction of puts and deletions: values of every size, from none to many pages.
static void round_write(MDB_env *env, uint32_t round)
{
	static uint8_t bytes[70000];
	char name[2] = {(char)('a' + round % TABLES), 0};
	MDB_val value;
	MDB_txn *txn;
	MDB_dbi table;

	CHECK_EQ(mdb_txn_begin(env, NULL, 0, &txn), 0);
	CHECK_EQ(mdb_dbi_open(txn, name, MDB_CREATE, &table), 0);
	for (uint32_t i = 0; i < 400; ++i) {
		uint32_t number = __builtin_bswap32((uint32_t)draw(KEYS));
		MDB_val key = {sizeof number, &number};

		if (draw(round % 7 == 6 ? 2 : 4) == 0) {
			int r = mdb_del(txn, table, &key, NULL);

			CHECK(r == 0 || r == MDB_NOTFOUND);
			continue;
		}
		value = (MDB_val){draw(100) ? draw(300) : draw(sizeof bytes), bytes};
		CHECK_EQ(mdb_put(txn, table, &key, &value, 0), 0);
	}
	CHECK_EQ(mdb_txn_commit(txn), 0);
}

static void begin(void)
{
	unit_directory(directory);
	snprintf(path, sizeof path, "%s/data.mdb", directory);
}

static void end(void)
{
	char lock[96];

	snprintf(lock, sizeof lock, "%s/lock.mdb", directory);
	unlink(lock);
	unlink(path);
	CHECK_EQ(rmdir(directory), 0);
}

static void fill(void)
{
	MDB_env *env = environment();

	for (uint32_t i = 0; i < ROUNDS; ++i)
		round_write(env, i);
	mdb_env_close(env);
}

static int check(void)
{
	const char *problem = NULL;
	int r = check_file(path, false, &problem);

	CHECK_EQ(problem != NULL, r == -EUCLEAN);
	return r;
}

static uint8_t *file_read(size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat about;
	uint8_t *bytes;

	CHECK(fd >= 0 && fstat(fd, &about) == 0);
	bytes = malloc((size_t)about.st_size);
	CHECK_EQ(read(fd, bytes, (size_t)about.st_size), about.st_size);
	close(fd);
	*ret_size = (size_t)about.st_size;
	return bytes;
}

static void file_write(const uint8_t *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, bytes, size), size);
	close(fd);
}

static void patch(size_t at, const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(pwrite(fd, bytes, size, (off_t)at), size);
	close(fd);
}

// ---- cases

static void nothing_there(void)
{
	begin();
	CHECK_EQ(check(), 0);
	mdb_env_close(environment());
	CHECK_EQ(check(), 0);
	CHECK_EQ(truncate(path, 0), 0);
	CHECK_EQ(check(), 0); // LMDB makes a new one
	CHECK_EQ(truncate(path, 100), 0);
	CHECK_EQ(check(), 0); // LMDB refuses it
	end();
}

static void whatever_lmdb_writes_is_whole(void)
{
	MDB_env *env;

	begin();
	env = environment();
	for (uint32_t i = 0; i < 10 * ROUNDS; ++i) {
		round_write(env, i);
		CHECK_EQ(check(), 0);
	}
	mdb_env_close(env);
	end();
}

// In a process of its own: what is not refused can be opened and read, or LMDB refuses it.
static bool can_be_opened(void)
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		MDB_env *env;
		MDB_txn *txn;

		if (!freopen("/dev/null", "w", stderr) || mdb_env_create(&env))
			_exit(1);
		if (mdb_env_set_maxdbs(env, 4) == 0 && mdb_env_open(env, directory, 0, 0600) == 0 &&
		    mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0)
			mdb_txn_abort(txn);
		_exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Every third byte of both heads, one bit of each, and every bit of what they say of the size of a
// page.
static void heads_with_a_flipped_bit(void)
{
	size_t size;
	uint8_t *bytes;

	begin();
	fill();
	bytes = file_read(&size);
	for (size_t at = 16; at < 16 + 136; ++at) {
		for (unsigned bit = 0; bit < 8; ++bit) {
			if ((bit != at % 8 || at % 3) && (at < 40 || at >= 44))
				continue;
			for (size_t head = 0; head < 2; ++head) {
				uint8_t byte = bytes[head * 4096 + at] ^ (uint8_t)(1u << bit);

				patch(head * 4096 + at, &byte, 1);
				if (check() == 0 && !can_be_opened()) {
					fprintf(stderr, "head %zu, byte %zu, bit %u\n", head, at,
						bit);
					CHECK(!"refused");
				}
				patch(head * 4096 + at, bytes + head * 4096 + at, 1);
			}
		}
	}
	free(bytes);
	end();
}

static void a_file_that_was_cut(void)
{
	size_t size, found = 0;
	uint8_t *bytes;

	begin();
	fill();
	bytes = file_read(&size);
	for (size_t part = 1; part < 100; ++part) {
		size_t cut = size * part / 100;

		file_write(bytes, cut);
		found += check() == -EUCLEAN;
	}
	CHECK(found >= 97); // a file may end before pages that are free
	file_write(bytes, size);
	CHECK_EQ(check(), 0);
	free(bytes);
	end();
}

// Pages of trees are found by their kind; values of many pages have no heads but their first.
static bool is_tree_page(const uint8_t *page, size_t number)
{
	uint16_t kind = le16_get(page + 10);

	return le64_get(page) == number && (kind == 1 || kind == 2);
}

// Every page of a tree by itself, with `bytes` in its place; pages that are free are not missed.
static void each_page(const uint8_t *bytes, size_t size, const uint8_t *instead)
{
	size_t found = 0, looked = 0;

	for (size_t number = 2; number < size / 4096; ++number) {
		if (!is_tree_page(bytes + number * 4096, number))
			continue;
		++looked;
		patch(number * 4096, instead, 4096);
		found += check() == -EUCLEAN;
		patch(number * 4096, bytes + number * 4096, 4096);
	}
	CHECK(looked > 100);
	CHECK(found > looked / 3);
	CHECK_EQ(check(), 0);
}

static void pages_that_were_overwritten(void)
{
	uint8_t random[4096], zero[4096] = {0};
	size_t size;
	uint8_t *bytes;

	begin();
	fill();
	bytes = file_read(&size);
	for (size_t i = 0; i < sizeof random; ++i)
		random[i] = (uint8_t)draw(256);
	each_page(bytes, size, zero);
	each_page(bytes, size, random);
	each_page(bytes, size, bytes + size / 4096 / 2 * 4096); // a page of another place
	free(bytes);
	end();
}

// Single bytes of heads, nodes and keys: found or harmless, and never read outside the file.
static void bytes_that_were_flipped(void)
{
	size_t size, found = 0;
	uint8_t *bytes;

	begin();
	fill();
	bytes = file_read(&size);
	for (uint32_t i = 0; i < 3000; ++i) {
		size_t number = 2 + draw(size / 4096 - 2), at = number * 4096 + draw(200);
		uint8_t flipped = bytes[at] ^ (uint8_t)(1 + draw(255));

		patch(at, &flipped, 1);
		found += check() == -EUCLEAN;
		patch(at, &bytes[at], 1);
	}
	CHECK(found > 100);
	free(bytes);
	end();
}

UNIT_MAIN(UNIT_CASE(nothing_there), UNIT_CASE(whatever_lmdb_writes_is_whole),
	  UNIT_CASE(heads_with_a_flipped_bit), UNIT_CASE(a_file_that_was_cut),
	  UNIT_CASE(pages_that_were_overwritten), UNIT_CASE(bytes_that_were_flipped))
