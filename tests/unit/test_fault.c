// Pages of an open store that change under it: the store is stopped, or the process ends and the
// next start says so.

#include "adapters/store/fault.h"
#include "adapters/store/head.h"
#include "adapters/store/row.h"
#include "core/base/log.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#define PAGE 4096

static char directory[64], said[4096];
static struct store *store;

static void line_keep(void *ctx, enum log_level level, const char *line, size_t size)
{
	if (level >= LOG_WARN)
		snprintf(said + strlen(said), sizeof said - strlen(said), "%.*s", (int)size, line);
}

static void store_begin(void)
{
	char *error = NULL;

	said[0] = '\0';
	CHECK_EQ(store_open(directory, NULL, 64u << 20, &store, &error), 0);
}

static void row_write(const char *name)
{
	struct store_number row = {.value = 1};
	MDB_val key = {strlen(name), (void *)(uintptr_t)name};
	MDB_txn *txn;

	CHECK_EQ(store_write_begin(store, &txn), 0);
	CHECK_EQ(row_put(txn, store->meta, &key, &row, sizeof row), 0);
	CHECK_EQ(mdb_txn_commit(txn), 0);
}

static int row_read(const char *name)
{
	MDB_val key = {strlen(name), (void *)(uintptr_t)name}, value;
	MDB_txn *txn;
	int r = store_read_begin(store, &txn);

	if (r)
		return r;
	r = row_get(txn, store->meta, &key, sizeof(struct store_number), &value);
	mdb_txn_abort(txn);
	return r;
}

static int file_open(void)
{
	char path[100];
	int fd;

	snprintf(path, sizeof path, "%s/data.mdb", directory);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	return fd;
}

static void end(void)
{
	char command[100];

	store_close(store);
	snprintf(command, sizeof command, "rm -rf '%s'", directory);
	CHECK_EQ(system(command), 0);
}

static void byte_change(off_t at)
{
	int fd = file_open();
	uint8_t byte;

	CHECK_EQ(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	CHECK_EQ(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

// Every byte of both heads, from the magic number on: the one that is in use stops the store. The
// other one is not read.
static void a_head_that_changes_stops_the_store(void)
{
	unsigned stopped = 0;

	unit_directory(directory);
	log_set_sink(line_keep, NULL);
	store_begin();
	row_write("a");
	row_write("b");
	CHECK_EQ(row_read("a"), 0);
	store_close(store);
	for (off_t at = 16; at < 16 + STORE_HEAD - 8; at += 5) { // its number is not used
		for (off_t page = 0; page < 2; ++page) {
			int r;

			store_begin();
			CHECK_EQ(row_read("a"), 0);
			byte_change(page * PAGE + at);
			r = row_read("b");
			CHECK(r == 0 || r == -EUCLEAN);
			CHECK_EQ(head_stopped(store) != NULL, r == -EUCLEAN);
			CHECK_EQ(strstr(said, "STORE-STOPPED") != NULL, r == -EUCLEAN);
			stopped += r == -EUCLEAN;
			byte_change(page * PAGE + at);
			store_close(store);
		}
	}
	CHECK_EQ(stopped, (STORE_HEAD - 8 + 4) / 5);
	store_begin();
	log_set_sink(NULL, NULL);
	end();
}

// In a process of its own: the file is cut under it.
static void cut_and_read(int to)
{
	int fd;

	dup2(to, STDERR_FILENO);
	store_begin();
	fd = file_open();
	CHECK_EQ(ftruncate(fd, (off_t)2 * PAGE), 0);
	row_read("a");
	_exit(0);
}

static void a_process_that_ends_in_a_store_says_which(void)
{
	char command[200], line[4096] = "";
	int pipes[2], status;
	ssize_t size;
	pid_t child;

	unit_directory(directory);
	store_begin();
	row_write("a");
	store_close(store);
	snprintf(command, sizeof command, "cp '%s/data.mdb' '%s/kept'", directory, directory);
	CHECK_EQ(system(command), 0);
	CHECK_EQ(pipe(pipes), 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		cut_and_read(pipes[1]);
	close(pipes[1]);
	size = read(pipes[0], line, sizeof line - 1);
	CHECK(size > 0 && strstr(line, "STORE-FAULT") && strstr(line, directory));
	while (read(pipes[0], command, sizeof command) > 0)
		; // a sanitizer's report
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
	CHECK(fault_is_marked(directory));
	snprintf(command, sizeof command, "mv '%s/kept' '%s/data.mdb'", directory, directory);
	CHECK_EQ(system(command), 0);
	log_set_sink(line_keep, NULL);
	store_begin();
	CHECK(strstr(said, "STORE-FAULT"));
	CHECK(!fault_is_marked(directory));
	CHECK_EQ(row_read("a"), 0);
	store_close(store);
	store_begin();
	CHECK_EQ(strlen(said), 0); // it is said once
	log_set_sink(NULL, NULL);
	end();
}

static void an_assertion_of_ours_names_no_store(void)
{
	char line[4096] = "", rest[200];
	int pipes[2], status;
	pid_t child;

	unit_directory(directory);
	store_begin();
	store_close(store);
	CHECK_EQ(pipe(pipes), 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		dup2(pipes[1], STDERR_FILENO);
		store_begin();
		fault_at(store);
		abort();
	}
	close(pipes[1]);
	CHECK(read(pipes[0], line, sizeof line - 1) >= 0);
	CHECK(!strstr(line, "STORE-FAULT"));
	while (read(pipes[0], rest, sizeof rest) > 0)
		; // a sanitizer's report
	close(pipes[0]);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
	CHECK(!fault_is_marked(directory));
	store_begin();
	end();
}

UNIT_MAIN(UNIT_CASE(a_head_that_changes_stops_the_store),
	  UNIT_CASE(a_process_that_ends_in_a_store_says_which),
	  UNIT_CASE(an_assertion_of_ours_names_no_store))
