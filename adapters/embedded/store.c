// Opening an environment: lock, format number, tables; and the hash of topics that sessions hold.
//
// D1 environments are never synced while they run, so a power cut may leave them torn: one that was
// not closed in order and belongs to another boot of the machine is set aside, not opened (class D1
// promises no more). A D2 environment is synced at every commit.

#include "adapters/embedded/store.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#define READERS_MAX 126
#define SLOTS_MIN   64u

int store_errno(int result)
{
	switch (result) {
	case MDB_SUCCESS: return 0;
	case MDB_NOTFOUND: return -ENOENT;
	case MDB_MAP_FULL: return -ENOSPC;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH: return -EUCLEAN;
	default: return result > 0 ? -result : -EIO;
	}
}

void store_key(uint8_t key[STORE_KEY_SIZE], uint64_t id, uint32_t partition, uint64_t offset)
{
	uint64_t big_id = __builtin_bswap64(id), big_offset = __builtin_bswap64(offset);
	uint32_t big_partition = __builtin_bswap32(partition);

	memcpy(key, &big_id, 8);
	memcpy(key + 8, &big_partition, 4);
	memcpy(key + 12, &big_offset, 8);
}

uint64_t store_key_id(const void *key)
{
	return __builtin_bswap64(le64_get(key));
}

uint32_t store_key_partition(const void *key)
{
	return __builtin_bswap32(le32_get((const uint8_t *)key + 8));
}

uint64_t store_key_offset(const void *key)
{
	return __builtin_bswap64(le64_get((const uint8_t *)key + 12));
}

int store_read_begin(struct store *store, MDB_txn **ret)
{
	return store_errno(mdb_txn_begin(store->env, NULL, MDB_RDONLY, ret));
}

// ---- opening

static int fail(struct store *store, int r, char **ret_error, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
static int fail(struct store *store, int r, char **ret_error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (vasprintf(ret_error, fmt, args) < 0)
		*ret_error = NULL;
	va_end(args);
	store_close(store);
	return r;
}

static int lock_take(const char *path)
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

static int format_check(struct store *store, MDB_txn *txn, uint32_t *ret_found)
{
	MDB_val key = {6, (void *)(uintptr_t)"format"}, value;
	uint8_t bytes[4];
	int r = mdb_get(txn, store->meta, &key, &value);

	if (r == MDB_NOTFOUND) {
		le32_put(bytes, STORE_FORMAT);
		value = (MDB_val){sizeof bytes, bytes};
		*ret_found = STORE_FORMAT;
		return mdb_put(txn, store->meta, &key, &value, 0);
	}
	if (r == 0)
		*ret_found = value.mv_size == 4 ? le32_get(value.mv_data) : 0;
	return r;
}

static int tables_open(struct store *store, uint32_t *ret_format)
{
	static const char *const names[] = {"meta",   "topics",  "partitions",
					    "chunks", "cursors", "groups"};
	MDB_dbi *const tables[] = {&store->meta,   &store->topics,  &store->partitions,
				   &store->chunks, &store->cursors, &store->groups};
	MDB_txn *txn;
	int r = mdb_txn_begin(store->env, NULL, 0, &txn);

	if (r)
		return store_errno(r);
	for (size_t i = 0; !r && i < ARRAY_SIZE(names); ++i)
		r = mdb_dbi_open(txn, names[i], MDB_CREATE, tables[i]);
	if (!r)
		r = format_check(store, txn, ret_format);
	if (r) {
		mdb_txn_abort(txn);
		return store_errno(r);
	}
	return store_errno(mdb_txn_commit(txn));
}

static void boot_id_read(char id[64])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file || !fgets(id, 64, file))
		strcpy(id, "unknown");
	if (file)
		fclose(file);
	id[strcspn(id, "\n")] = '\0';
}

static char *boot_path(const char *path)
{
	char *file;

	return asprintf(&file, "%s/boot", path) < 0 ? NULL : file;
}

// The file `boot` stands while a D1 environment is open.
static void boot_mark(const char *path, bool open)
{
	_cleanup_(freep) char *name = boot_path(path);
	char id[64];
	FILE *file;

	if (!open) {
		unlink(name);
		return;
	}
	boot_id_read(id);
	file = fopen(name, "we");
	if (file) {
		fputs(id, file);
		fclose(file);
	}
}

// Renames a D1 environment that a power cut may have torn.
static int torn_set_aside(const char *path)
{
	_cleanup_(freep) char *name = boot_path(path), *aside = NULL;
	char was[64] = "", is[64];
	FILE *file = fopen(name, "re");

	if (!file)
		return 0;
	if (!fgets(was, sizeof was, file))
		was[0] = '\0';
	fclose(file);
	boot_id_read(is);
	if (strcmp(was, is) == 0)
		return 0;
	if (asprintf(&aside, "%s.torn-%lld", path, (long long)clock_wall_ms()) < 0)
		return -ENOMEM;
	if (rename(path, aside) < 0 || mkdir(path, 0700) < 0)
		return -errno;
	log_error(NULL, "STORE-TORN",
		  "the machine went down while the D1 store was open; its messages are set aside "
		  "in %s",
		  aside);
	return 0;
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
		int dead;

		r = mdb_reader_check(store->env, &dead);
	}
	return store_errno(r);
}

int store_open(const char *path, enum durability durability, uint64_t map_bytes, struct store **ret,
	       char **ret_error)
{
	struct store *store = calloc(1, sizeof *store);
	uint32_t format = 0;
	int r;

	if (!store)
		return -ENOMEM;
	store->lock_fd = -1;
	store->durability = durability;
	store->map_bytes = map_bytes;
	store->path = strdup(path);
	store->slots = calloc(SLOTS_MIN, sizeof(struct adapter_topic *));
	store->slot_count = SLOTS_MIN;
	pthread_mutex_init(&store->lock, NULL);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail(store, -errno, ret_error, "%s: %s", path, strerror(errno));
	if (durability == DURABILITY_D1 && (r = torn_set_aside(path)) < 0)
		return fail(store, r, ret_error, "%s: %s", path, strerror(-r));
	r = lock_take(path);
	if (r == -EBUSY)
		return fail(store, r, ret_error,
			    "%s is in use by another process; stop it, or choose another data "
			    "directory",
			    path);
	if (r < 0)
		return fail(store, r, ret_error, "%s/lock: %s", path, strerror(-r));
	store->lock_fd = r;
	r = environment_open(store);
	if (r == -EUCLEAN)
		return fail(store, r, ret_error,
			    "%s/data.mdb is damaged or not ours; restore it from a copy, or move "
			    "the directory away to begin anew",
			    path);
	if (r == -ENOMEM || r == -ENOSPC)
		return fail(store, r, ret_error,
			    "%s: %llu bytes cannot be mapped; set a smaller map_bytes", path,
			    (unsigned long long)map_bytes);
	if (!r)
		r = tables_open(store, &format);
	if (r < 0)
		return fail(store, r, ret_error, "%s/data.mdb: %s", path, strerror(-r));
	if (format != STORE_FORMAT)
		return fail(store, -EPROTONOSUPPORT, ret_error,
			    "%s has format %u, this program knows format %u; use the program that "
			    "wrote it",
			    path, format, STORE_FORMAT);
	if (durability == DURABILITY_D1)
		boot_mark(path, true);
	*ret = store;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	if (store->env) {
		bool clean = store->durability != DURABILITY_D1 || mdb_env_sync(store->env, 1) == 0;

		mdb_env_close(store->env);
		if (clean && store->durability == DURABILITY_D1 && store->lock_fd >= 0)
			boot_mark(store->path, false);
	}
	closep(&store->lock_fd);
	pthread_mutex_destroy(&store->lock);
	free(store->slots);
	free(store->path);
	free(store);
}

// ---- topics in memory

static struct adapter_topic **slot_of(struct store *store, uint64_t id)
{
	return &store->slots[(id * 0x9e3779b97f4a7c15ull >> 32) & (store->slot_count - 1)];
}

static void slots_grow(struct store *store)
{
	size_t old_count = store->slot_count;
	struct adapter_topic **old = store->slots,
			     **grown = calloc(old_count * 2, sizeof(struct adapter_topic *));

	if (!grown)
		return;
	store->slots = grown;
	store->slot_count = old_count * 2;
	for (size_t i = 0; i < old_count; ++i) {
		for (struct adapter_topic *topic = old[i], *next; topic; topic = next) {
			struct adapter_topic **slot = slot_of(store, topic->id);

			next = topic->next;
			topic->next = *slot;
			*slot = topic;
		}
	}
	free(old);
}

// Called with the lock held.
static struct adapter_topic *find_locked(struct store *store, uint64_t id)
{
	struct adapter_topic *topic = *slot_of(store, id);

	while (topic && (topic->id != id || __atomic_load_n(&topic->gone, __ATOMIC_RELAXED)))
		topic = topic->next;
	if (topic)
		++topic->refs;
	return topic;
}

struct adapter_topic *store_topic_find(struct store *store, uint64_t id)
{
	struct adapter_topic *topic;

	pthread_mutex_lock(&store->lock);
	topic = find_locked(store, id);
	pthread_mutex_unlock(&store->lock);
	return topic;
}

static int partitions_read(struct store *store, MDB_txn *txn, struct adapter_topic *topic)
{
	for (uint32_t i = 0; i < topic->partition_count; ++i) {
		struct store_partition *partition = &topic->partitions[i];
		uint8_t bytes[STORE_KEY_SIZE];
		MDB_val key = {12, bytes}, value;
		int r;

		store_key(bytes, topic->id, i, 0);
		partition->topic = topic;
		partition->number = i;
		r = mdb_get(txn, store->partitions, &key, &value);
		if (r == MDB_NOTFOUND)
			continue;
		if (r || value.mv_size != 24)
			return r ? store_errno(r) : -EUCLEAN;
		partition->first = le64_get(value.mv_data);
		partition->end = le64_get((const uint8_t *)value.mv_data + 8);
		partition->bytes = le64_get((const uint8_t *)value.mv_data + 16);
	}
	return 0;
}

// Reads a topic's rows. The lock is held, so that no second copy comes to be.
static int topic_load(struct store *store, uint64_t id, uint64_t incarnation,
		      struct adapter_topic **ret)
{
	struct store_topic_row row;
	struct adapter_topic *topic = NULL;
	uint8_t bytes[STORE_KEY_SIZE];
	MDB_val key = {8, bytes}, value;
	MDB_txn *txn;
	int r = store_read_begin(store, &txn);

	if (r < 0)
		return r;
	store_key(bytes, id, 0, 0);
	r = store_errno(mdb_get(txn, store->topics, &key, &value));
	if (!r && value.mv_size != sizeof row)
		r = -EUCLEAN;
	if (!r) {
		memcpy(&row, value.mv_data, sizeof row);
		r = row.incarnation == incarnation ? 0 : -ENOENT;
	}
	if (!r) {
		topic = calloc(1, sizeof *topic);
		if (topic)
			topic->partitions = calloc(row.partitions, sizeof *topic->partitions);
		r = topic && topic->partitions ? 0 : -ENOMEM;
	}
	if (!r) {
		topic->store = store;
		topic->id = id;
		topic->incarnation = incarnation;
		topic->refs = 1;
		topic->partition_count = row.partitions;
		pthread_mutex_init(&topic->watch_lock, NULL);
		list_init(&topic->watches);
		r = partitions_read(store, txn, topic);
	}
	mdb_txn_abort(txn);
	if (r < 0) {
		if (topic)
			free(topic->partitions);
		free(topic);
		return r;
	}
	*ret = topic;
	return 0;
}

struct adapter_topic *store_topic_open(struct store *store, uint64_t id, uint64_t incarnation,
				       int *ret_r)
{
	struct adapter_topic *topic;

	*ret_r = 0;
	pthread_mutex_lock(&store->lock);
	topic = find_locked(store, id);
	if (topic && topic->incarnation != incarnation) {
		--topic->refs;
		topic = NULL;
		*ret_r = -ENOENT;
	} else if (!topic) {
		*ret_r = topic_load(store, id, incarnation, &topic);
		if (topic) {
			struct adapter_topic **slot;

			if (store->topic_count++ >= store->slot_count)
				slots_grow(store);
			slot = slot_of(store, id);
			topic->next = *slot;
			*slot = topic;
		}
	}
	pthread_mutex_unlock(&store->lock);
	return topic;
}

void store_topic_close(struct adapter_topic *topic)
{
	struct store *store = topic->store;
	struct adapter_topic **at;

	pthread_mutex_lock(&store->lock);
	if (--topic->refs > 0) {
		pthread_mutex_unlock(&store->lock);
		return;
	}
	for (at = slot_of(store, topic->id); *at != topic; at = &(*at)->next)
		;
	*at = topic->next;
	--store->topic_count;
	pthread_mutex_unlock(&store->lock);
	pthread_mutex_destroy(&topic->watch_lock);
	while (topic->retired) {
		struct store_retired *retired = topic->retired;

		topic->retired = retired->next;
		free(retired->partitions);
		free(retired);
	}
	free(topic->partitions);
	free(topic);
}

int store_topic_grow(struct adapter_topic *topic, uint32_t partitions)
{
	struct store_retired *retired;
	struct store_partition *grown;

	if (partitions <= topic->partition_count)
		return 0;
	retired = malloc(sizeof *retired);
	grown = calloc(partitions, sizeof *grown);
	if (!retired || !grown) {
		free(retired);
		free(grown);
		return -ENOMEM;
	}
	memcpy(grown, topic->partitions, topic->partition_count * sizeof *grown);
	for (uint32_t i = 0; i < partitions; ++i) {
		grown[i].topic = topic;
		grown[i].number = i;
	}
	*retired = (struct store_retired){topic->retired, topic->partitions};
	topic->retired = retired;
	__atomic_store_n(&topic->partitions, grown, __ATOMIC_RELEASE);
	__atomic_store_n(&topic->partition_count, partitions, __ATOMIC_RELEASE);
	return 0;
}
