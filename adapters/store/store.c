// One environment of LMDB: its lock, format number and tables, opened and closed; and how every
// transaction begins.
//
// A D2 environment is synced at every commit. A D1 environment is never synced while it runs, so a
// power cut may leave it torn. One that was not closed in order and belongs to another boot of the
// machine is set aside, not opened (class D1 promises no more). Its topics and groups still exist,
// because their rows are in the D2 environment. Its positions continue at a number that was never
// used: the generation counts how often that has happened.
//
// Invariants: one process has a store open. Tables are made together with the format number; a
// table that is missing later is damage, and is not made anew. A transaction begins only from a
// head that is still the one that was written (head.c).
//
// Not here: writing (committer.c), and the topics that sessions hold (topic.c).

#include "adapters/store/store.h"

#include "adapters/store/boot.h"
#include "adapters/store/check.h"
#include "adapters/store/damage_list.h"
#include "adapters/store/fault.h"
#include "adapters/store/head.h"
#include "adapters/store/row.h"
#include "adapters/store/tail.h"
#include "core/base/clock.h"
#include "core/base/directory.h"
#include "core/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#define READERS_MAX 126
#define SLOTS_MIN   64u // a power of two

// A transaction on a head that is the one that was written.
static int txn_begin(struct store *store, unsigned flags, MDB_txn **ret)
{
	int r = head_stopped(store) ? -EUCLEAN : 0;

	fault_at(store);
	if (!r)
		r = mdb_txn_begin(store->env, NULL, flags, ret);
	if (r == MDB_MAP_RESIZED)
		return head_report_changed(store); // no other process makes it larger
	if (r)
		return r == -EUCLEAN ? r : store_error(r);
	// A write transaction has the number that it will be committed under.
	r = head_check(store, mdb_txn_id(*ret) - (flags & MDB_RDONLY ? 0 : 1));
	if (r)
		mdb_txn_abort(*ret);
	return r;
}

int store_read_begin(struct store *store, MDB_txn **ret)
{
	return txn_begin(store, MDB_RDONLY, ret);
}

int store_write_begin(struct store *store, MDB_txn **ret)
{
	return txn_begin(store, 0, ret);
}

// ---- opening

static int set_error(int r, char **ret_error, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int set_error(int r, char **ret_error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (vasprintf(ret_error, fmt, args) < 0)
		*ret_error = NULL;
	va_end(args);
	return r;
}

int store_lock_take(const char *path)
{
	_cleanup_(freep) char *file = NULL;
	int fd;

	if (asprintf(&file, "%s/lock", path) < 0)
		return -ENOMEM;
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int r = errno == EWOULDBLOCK ? -EBUSY : -errno;

		close(fd);
		return r;
	}
	return fd;
}

// A number in the table `meta`. -ENOENT: it is not there.
static int number_get(struct store *store, MDB_txn *txn, const char *name, uint64_t *ret)
{
	MDB_val key = {strlen(name), (void *)(uintptr_t)name}, value;
	struct store_number number;
	int r = mdb_get(txn, store->meta, &key, &value);

	if (r)
		return store_error(r);
	if (value.mv_size == sizeof(uint64_t)) { // of format 1
		*ret = le64_get(value.mv_data);
		return 0;
	}
	if (!row_is_whole(&key, &value, sizeof number))
		return -EUCLEAN;
	memcpy(&number, value.mv_data, sizeof number);
	*ret = number.value;
	return 0;
}

static int number_put(struct store *store, MDB_txn *txn, const char *name, uint64_t value)
{
	MDB_val key = {strlen(name), (void *)(uintptr_t)name};
	struct store_number number = {.value = value};

	return row_put(txn, store->meta, &key, &number, sizeof number);
}

// How many tables there are: none in a file that was just made.
static int tables_count(MDB_txn *txn, size_t *ret)
{
	MDB_dbi unnamed;
	MDB_stat stat;
	int r = mdb_dbi_open(txn, NULL, 0, &unnamed);

	if (!r)
		r = mdb_stat(txn, unnamed, &stat);
	if (!r)
		*ret = stat.ms_entries;
	return store_error(r);
}

// Tables are made together with the format number. One that is missing later is damage: making it
// anew would hide what it held.
static int tables_open_in(struct store *store, MDB_txn *txn, uint64_t *ret_format,
			  const char **ret_problem)
{
	static const char *const names[] = {"meta", "partitions", "chunks", "cursors", "retries",
					    "dues", "damaged",    "topics", "groups"};
	MDB_dbi *const tables[] = {&store->meta,    &store->partitions, &store->chunks,
				   &store->cursors, &store->retries,    &store->dues,
				   &store->damaged, &store->topics,     &store->groups};
	size_t count = store->rows == store ? ARRAY_SIZE(names) : ARRAY_SIZE(names) - 2, there = 0;
	int r = tables_count(txn, &there);

	if (!r && there) {
		*ret_problem = "the table of its format is missing";
		r = store_error(mdb_dbi_open(txn, names[0], 0, tables[0]));
		if (!r)
			r = number_get(store, txn, "format", ret_format);
		if (r || *ret_format != STORE_FORMAT)
			return r == -ENOENT ? -EUCLEAN : r;
		*ret_problem = "one of its tables is missing";
	}
	for (size_t i = 0; !r && i < count; ++i)
		r = store_error(mdb_dbi_open(txn, names[i], there ? 0 : MDB_CREATE, tables[i]));
	if (!r && !there)
		r = number_put(store, txn, "format", *ret_format = STORE_FORMAT);
	return r == -ENOENT ? -EUCLEAN : r;
}

static int tables_open(struct store *store, uint64_t *ret_format, const char **ret_problem)
{
	MDB_txn *txn;
	int r = store_write_begin(store, &txn);

	if (r)
		return r;
	r = tables_open_in(store, txn, ret_format, ret_problem);
	if (r) {
		mdb_txn_abort(txn);
		return r;
	}
	return store_error(mdb_txn_commit(txn));
}

// How often the D1 store was lost, in the D2 store, which survives: one more when it is `empty` and
// was not empty before, since the number is only written once there is a D1 store. So it cannot be
// missing beside one that is not empty, unless the D2 store has been begun anew.
static int generation_read_in(struct store *store, MDB_txn *txn, bool empty)
{
	struct store *rows = store->rows;
	int r = number_get(rows, txn, "generation", &store->generation);
	MDB_stat topics = {0};

	if (r == -ENOENT) {
		mdb_stat(txn, rows->topics, &topics);
		return empty || topics.ms_entries == 0 ? number_put(rows, txn, "generation", 0)
						       : -EUCLEAN;
	}
	if (r || !empty)
		return r;
	log_error(NULL, "STORE-LOST", "%s is empty: the D1 messages that it held are gone",
		  store->path);
	return number_put(rows, txn, "generation", ++store->generation);
}

static int generation_read(struct store *store, bool empty, const char **ret_problem)
{
	MDB_txn *txn;
	int r = store_write_begin(store->rows, &txn);

	if (r)
		return r;
	*ret_problem = "the D2 store beside it has lost the number of its generation";
	r = generation_read_in(store, txn, empty);
	if (r) {
		mdb_txn_abort(txn);
		return r;
	}
	return store_error(mdb_txn_commit(txn));
}

uint64_t store_first_offset(const struct store *store)
{
	return store->generation << STORE_GENERATION_BITS;
}

// A D1 environment that a power cut may have torn is kept under another name, without its mark, so
// that renaming it again takes it back.
static int set_aside(const char *path)
{
	_cleanup_(freep) char *aside = NULL;

	if (asprintf(&aside, "%s.torn-%lld", path, (long long)clock_wall_ms()) < 0)
		return -ENOMEM;
	if (rename(path, aside) < 0 || mkdir(path, 0700) < 0)
		return -errno;
	boot_unmark(aside);
	log_error(NULL, "STORE-TORN",
		  "the machine went down while the D1 store was open; its messages are kept in %s. "
		  "To take them back, in place of what was sent since: stop mqpaasd, move %s away, "
		  "rename %s to it, start mqpaasd",
		  aside, path, aside);
	return directory_sync_name(path);
}

// Leaves an empty directory in place of a D1 environment that may be torn; then 1.
static int torn_set_aside(const char *path)
{
	enum boot_mark mark;
	int r = boot_read(path, &mark);

	if (r < 0)
		return r;
	if (mark == BOOT_UNREADABLE)
		log_warn(NULL, "STORE-MARK",
			 "%s/boot is empty or damaged: whether the machine went down while the D1 "
			 "store was open is not known; it is opened as it is",
			 path);
	if (mark != BOOT_OTHER)
		return 0;
	r = set_aside(path);
	return r < 0 ? r : 1;
}

static int environment_open(struct store *store)
{
	unsigned flags = MDB_NOTLS | (store->durability == DURABILITY_D1 ? MDB_NOSYNC : 0);
	int r = mdb_env_create(&store->env);

	if (!r)
		r = mdb_env_set_maxdbs(store->env, 16);
	if (!r)
		r = mdb_env_set_maxreaders(store->env, READERS_MAX);
	if (!r)
		r = mdb_env_set_mapsize(store->env, store->map_bytes);
	if (!r)
		r = mdb_env_open(store->env, store->path, flags, 0600);
	if (!r) {
		MDB_stat stat;
		int dead;

		mdb_env_stat(store->env, &stat);
		store->page_size = stat.ms_psize;
		fault_watch(store);
		r = mdb_reader_check(store->env, &dead);
	}
	// What can be read is not durable when the last process ended in the middle of a commit:
	// the disk may hold a newer valid head than is seen, and pages of it would be written over.
	if (!r && store->durability == DURABILITY_D2)
		r = mdb_env_sync(store->env, 1);
	return store_error(r);
}

static const char in_use[] =
	"%s is in use by another process; stop it, or choose another data directory";
static const char damaged[] = "%s/data.mdb is damaged or not ours (%s); restore it from a copy, or "
			      "take out what can be read with mqpaasd --salvage %s, or move the "
			      "directory away to begin anew";

// The directory is ours, and no torn environment is in it.
static int place_take(struct store *store, char **ret_error)
{
	const char *path = store->path;
	int r;

	r = directory_make(path);
	if (r < 0)
		return set_error(r, ret_error, "%s: %s", path, strerror(-r));
	r = store_lock_take(path);
	if (r == -EBUSY)
		return set_error(r, ret_error, in_use, path);
	if (r < 0)
		return set_error(r, ret_error, "%s/lock: %s", path, strerror(-r));
	store->lock_fd = r;
	if (store->durability != DURABILITY_D1)
		return 0;
	r = torn_set_aside(path);
	if (r < 0)
		return set_error(r, ret_error, "%s: %s", path, strerror(-r));
	if (r == 1) { // the lock went with it
		closep(&store->lock_fd);
		store->lock_fd = store_lock_take(path);
	}
	return store->lock_fd < 0 ? set_error(store->lock_fd, ret_error, in_use, path) : 0;
}

// Whether the file may be opened, and whether there is nothing in it yet.
static int file_check(const struct store *store, bool *ret_empty, const char **ret_problem)
{
	_cleanup_(freep) char *file = NULL;
	struct stat state;

	if (asprintf(&file, "%s/data.mdb", store->path) < 0)
		return -ENOMEM;
	*ret_empty = stat(file, &state) < 0 || state.st_size == 0;
	return check_file(file, fault_is_marked(store->path), ret_problem);
}

// The last process ended in this store. All of it has been looked at.
static void fault_say(const struct store *store)
{
	if (!fault_is_marked(store->path))
		return;
	log_error(NULL, "STORE-FAULT",
		  "%s: the last process ended while it worked in this store; its pages were looked "
		  "at as a whole and are in order. Look at the memory of this machine",
		  store->path);
	fault_unmark(store->path);
}

static int contents_open(struct store *store, char **ret_error)
{
	const char *path = store->path, *problem = "its head is wrong";
	uint64_t format = 0;
	bool empty;
	int r = file_check(store, &empty, &problem);

	if (r == 0 && empty && store->durability == DURABILITY_D1)
		r = boot_mark(path); // making it writes, and none of that is synced
	if (r == 0)
		r = environment_open(store);
	if (r == -ENOMEM || r == -ENOSPC)
		return set_error(r, ret_error,
				 "%s: %llu bytes cannot be mapped; set a smaller map_bytes", path,
				 (unsigned long long)store->map_bytes);
	if (!r)
		r = tables_open(store, &format, &problem);
	if (!r && format != STORE_FORMAT)
		return set_error(
			-EPROTONOSUPPORT, ret_error,
			"%s has format %llu, this program knows format %u; use the program "
			"that wrote it",
			path, (unsigned long long)format, STORE_FORMAT);
	if (!r && store->rows != store)
		r = generation_read(store, empty, &problem);
	if (r == -EUCLEAN)
		return set_error(r, ret_error, damaged, path, problem, path);
	if (!r)
		r = directory_sync(path); // the file may be new
	if (r < 0)
		return set_error(r, ret_error, "%s/data.mdb: %s", path, strerror(-r));
	return 0;
}

// The order matters: the lock, then a torn environment is set aside, then the file is checked, and
// only then LMDB maps it. A new D1 store is marked before LMDB first writes to it, any other one at
// the end, when nothing can fail any more.
int store_open(const char *path, struct store *rows, uint64_t map_bytes, struct store **ret,
	       char **ret_error)
{
	struct store *store = calloc(1, sizeof *store);
	int r;

	if (!store)
		return -ENOMEM;
	store->lock_fd = -1;
	store->durability = rows ? DURABILITY_D1 : DURABILITY_D2;
	store->rows = rows ? rows : store;
	store->map_bytes = map_bytes;
	store->path = strdup(path);
	store->slots = calloc(SLOTS_MIN, sizeof(struct adapter_topic *));
	store->slot_count = SLOTS_MIN;
	store->tails = tail_cache_new();
	store->damages = damage_list_new();
	pthread_mutex_init(&store->lock, NULL);
	pthread_mutex_init(&store->head_lock, NULL);
	r = store->path && store->slots && store->tails && store->damages ? 0 : -ENOMEM;
	if (!r)
		r = place_take(store, ret_error);
	if (!r)
		r = contents_open(store, ret_error);
	if (!r && rows && (r = boot_mark(path)) < 0)
		set_error(r, ret_error, "%s/boot: %s", path, strerror(-r));
	fault_at(NULL);
	if (!r)
		fault_say(store);
	if (r < 0) {
		store_close(store);
		return r;
	}
	*ret = store;
	return 0;
}

// Accepts a store that was opened halfway. A D1 store loses its mark only after a last sync, so
// that a power cut before it still shows at the next start. The lock goes last.
void store_close(struct store *store)
{
	if (!store)
		return;
	if (store->env) {
		bool clean = store->durability != DURABILITY_D1 || mdb_env_sync(store->env, 1) == 0;

		fault_unwatch(store);
		mdb_env_close(store->env);
		if (clean && store->durability == DURABILITY_D1 && store->lock_fd >= 0)
			boot_unmark(store->path);
	}
	closep(&store->lock_fd);
	pthread_mutex_destroy(&store->lock);
	pthread_mutex_destroy(&store->head_lock);
	tail_cache_free(store->tails);
	damage_list_free(store->damages);
	free(store->slots);
	free(store->path);
	free(store);
}
