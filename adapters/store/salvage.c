// Takes everything out of a damaged store that can be read, into a new store in its place.
//
// A file whose trees are damaged is refused as a whole when a store is opened, because LMDB cannot
// be led through it. But each row proves by its checksum that it is a row, and under which key. So
// all rows that are found whole go into a new file, in order. What is missing there is found like
// any other damage: chunks that do not follow each other, a partition that does not reach its end,
// a cursor that is counted and absent.
//
// A loss that would not be found this way is recorded: a row that is known to have existed is put
// in as an empty one, which is damaged. So a topic that groups name can be rebuilt
// (topic_rebuild.c), and a group whose cursors are lost does not begin at the first message but
// waits for its reset. A partition whose row and last chunks may both be lost continues END_GAP
// offsets later, and the gap is missing: no offset is used twice.
//
// The table of a row is found from its size and checksum, not from the tree that held it: a branch
// may have led into another one.
//
// Invariant: the damaged file is never written to; it is renamed when the new one is whole and
// synced. Not here: finding rows in a damaged file (salvage_read.c), and deciding that a store is
// damaged (check.c).

#include "adapters/store/salvage.h"

#include "adapters/store/chunk.h"
#include "adapters/store/cursor.h"
#include "adapters/store/partition_row.h"
#include "adapters/store/row.h"
#include "adapters/store/salvage_read.h"
#include "core/base/clock.h"
#include "core/base/directory.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define END_GAP      (1ull << 20)
#define ROWS_A_TXN   20000u
#define BYTES_A_TXN  (64u << 20)
#define MISSING_MAX  1000u // ranges in the report
#define DAMAGED_KEY  29u
#define META_NAME    16u // no key of the table `meta` is longer
#define IDENTITY_ROW 20u
#define TABLES_D1    7u
#define TABLES_D2    9u

struct salvage {
	const char *path;
	char *beside, *kept; // the new store, and the name of the old one afterwards
	bool d2;
	struct store fresh; // of its members only what rows need
	MDB_txn *txn;
	unsigned rows_in_txn;
	size_t bytes_in_txn;
	uint64_t taken, broken; // rows
	struct salvage_read read;
	json_t *missing, *row_lost;
};

static int set_error(int r, char **ret_error, const char *path, const char *text)
{
	if (asprintf(ret_error, "%s: %s", path, text ? text : strerror(-r)) < 0)
		*ret_error = NULL;
	return r;
}

// ---- the new file

static int txn_begin(struct salvage *salvage)
{
	salvage->rows_in_txn = 0;
	salvage->bytes_in_txn = 0;
	return store_error(mdb_txn_begin(salvage->fresh.env, NULL, 0, &salvage->txn));
}

static int txn_end(struct salvage *salvage)
{
	int r = store_error(mdb_txn_commit(salvage->txn));

	salvage->txn = NULL;
	return r;
}

static int tables_make(struct salvage *salvage)
{
	struct store *fresh = &salvage->fresh;
	const struct {
		const char *name;
		MDB_dbi *table;
	} tables[] = {{"meta", &fresh->meta},       {"partitions", &fresh->partitions},
		      {"chunks", &fresh->chunks},   {"cursors", &fresh->cursors},
		      {"retries", &fresh->retries}, {"dues", &fresh->dues},
		      {"damaged", &fresh->damaged}, {"topics", &fresh->topics},
		      {"groups", &fresh->groups}};
	size_t count = ARRAY_SIZE(tables) - (salvage->d2 ? 0 : 2);
	int r = 0;

	for (size_t i = 0; !r && i < count; ++i)
		r = mdb_dbi_open(salvage->txn, tables[i].name, MDB_CREATE, tables[i].table);
	return store_error(r);
}

static int fresh_open(struct salvage *salvage, uint64_t file_bytes)
{
	MDB_env **env = &salvage->fresh.env;
	int r;

	if (mkdir(salvage->beside, 0700) < 0)
		return -errno;
	r = mdb_env_create(env);
	if (!r)
		r = mdb_env_set_maxdbs(*env, 16);
	if (!r)
		r = mdb_env_set_mapsize(*env, (file_bytes * 2 + (1ull << 30)) & ~0xffffull);
	if (!r)
		r = mdb_env_open(*env, salvage->beside, MDB_NOSYNC, 0600);
	r = r ? store_error(r) : txn_begin(salvage);
	return r ? r : tables_make(salvage);
}

// ---- rows

// The table of a whole row. false: it is none.
static bool table_of(struct salvage *salvage, const MDB_val *key, const MDB_val *value,
		     MDB_dbi *ret)
{
	struct store *fresh = &salvage->fresh;
	const uint8_t *bytes = value->mv_data;
	bool whole = value->mv_size >= sizeof(uint32_t) &&
		     row_is_whole(key, value, sizeof(struct store_due));

	switch (key->mv_size) {
	case STORE_KEY:
		*ret = whole ? fresh->retries : fresh->chunks;
		return (whole && value->mv_size >= sizeof(struct store_retry)) ||
		       chunk_head_is_whole(key, value);
	case STORE_DUE_KEY: *ret = fresh->dues; return whole;
	case DAMAGED_KEY: *ret = fresh->damaged; return whole;
	case STORE_PARTITION_KEY:
		// The text of a cursor holds no zero; the last byte of a time does.
		*ret = value->mv_size == sizeof(struct store_partition_row) &&
				       bytes[value->mv_size - 1] == 0
			       ? fresh->partitions
			       : fresh->cursors;
		return whole && value->mv_size >= sizeof(struct store_cursor);
	case STORE_ID_KEY:
		if (memcmp(key->mv_data, "identity", 8) == 0 && value->mv_size == IDENTITY_ROW) {
			*ret = fresh->meta;
			return true; // its reader knows whether it is whole
		}
		*ret = value->mv_size == sizeof(struct store_group_row) ? fresh->groups
									: fresh->topics;
		return whole && salvage->d2;
	default:
		*ret = fresh->meta;
		return whole && key->mv_size < META_NAME &&
		       value->mv_size == sizeof(struct store_number);
	}
}

static int row_take(void *ctx, const MDB_val *key, const MDB_val *value)
{
	struct salvage *salvage = ctx;
	MDB_val key_copy = *key, value_copy = *value;
	MDB_dbi table;
	int r = 0;

	if (!table_of(salvage, key, value, &table)) {
		++salvage->broken;
		return 0;
	}
	if (salvage->rows_in_txn >= ROWS_A_TXN || salvage->bytes_in_txn >= BYTES_A_TXN)
		r = txn_end(salvage) ? -EIO : txn_begin(salvage);
	if (r)
		return r;
	r = mdb_put(salvage->txn, table, &key_copy, &value_copy, MDB_NOOVERWRITE);
	++salvage->rows_in_txn;
	salvage->bytes_in_txn += key->mv_size + value->mv_size;
	salvage->taken += r == 0;
	return r == MDB_KEYEXIST ? 0 : store_error(r);
}

static bool is_lossy(const struct salvage *salvage)
{
	const struct salvage_read *read = &salvage->read;

	return salvage->broken || read->lost_pages || read->lost_nodes || read->unsure ||
	       read->tables < (salvage->d2 ? TABLES_D2 : TABLES_D1) || salvage->taken < read->rows;
}

// ---- what is lost and would not be noticed

// An empty row, unless there is one.
static int row_lose(struct salvage *salvage, MDB_dbi table, MDB_val *key)
{
	uint8_t nothing[1] = {0};
	MDB_val value = {sizeof nothing, nothing};
	int r = mdb_put(salvage->txn, table, key, &value, MDB_NOOVERWRITE);

	return r == MDB_KEYEXIST ? 0 : r ? store_error(r) : 1;
}

static int topic_lose(struct salvage *salvage, uint64_t topic)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes};
	int r;

	store_key(bytes, topic, 0, 0);
	r = row_lose(salvage, salvage->fresh.topics, &key);
	if (r == 1)
		json_array_append_new(salvage->row_lost, json_integer((json_int_t)topic));
	return MIN(r, 0);
}

// Calls fn for each row of a table.
static int each_row(struct salvage *salvage, MDB_dbi table,
		    int (*fn)(struct salvage *salvage, const MDB_val *key, const MDB_val *value))
{
	MDB_val key, value;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(salvage->txn, table, &cursor);

	if (r)
		return store_error(r);
	r = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	while (!r) {
		int given = fn(salvage, &key, &value);

		if (given) {
			mdb_cursor_close(cursor);
			return given;
		}
		r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

static int group_topic_look(struct salvage *salvage, const MDB_val *key, const MDB_val *value)
{
	struct store_group_row row;

	memcpy(&row, value->mv_data, sizeof row);
	return topic_lose(salvage, row.topic);
}

static int partition_topic_look(struct salvage *salvage, const MDB_val *key, const MDB_val *value)
{
	return topic_lose(salvage, store_key_id(key->mv_data));
}

// A count that is not there says that cursors may be missing.
static int cursors_lose(struct salvage *salvage, uint64_t group)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes};

	store_key(bytes, group, CURSOR_COUNT, 0);
	return MIN(row_lose(salvage, salvage->fresh.cursors, &key), 0);
}

static int cursor_group_look(struct salvage *salvage, const MDB_val *key, const MDB_val *value)
{
	return cursors_lose(salvage, store_key_id(key->mv_data));
}

// The row of a partition that has chunks and no row.
static int partition_make(struct salvage *salvage, const MDB_val *key, const MDB_val *value)
{
	uint64_t topic = store_key_id(key->mv_data);
	uint32_t partition = store_key_partition(key->mv_data);
	struct store_partition_row row;
	uint8_t bytes[STORE_KEY];
	MDB_val row_key = {STORE_PARTITION_KEY, bytes};
	int r = partition_row_read(&salvage->fresh, salvage->txn, topic, partition, &row);

	if (r != -EUCLEAN)
		return r;
	r = partition_row_rebuild(&salvage->fresh, salvage->txn, topic, partition, &row);
	if (r)
		return r;
	row.end += END_GAP;
	store_key(bytes, topic, partition, 0);
	return row_put(salvage->txn, salvage->fresh.partitions, &row_key, &row, sizeof row);
}

// ---- what the other store says

// Rows of topics and groups, which the D2 store keeps for both, and how far the D1 store has come.
struct other {
	struct salvage *salvage;
	json_t *topics, *groups; // durability by id; topic by id
	uint64_t end;
	bool there;
};

static int other_take(void *ctx, const MDB_val *key, const MDB_val *value)
{
	struct other *other = ctx;
	char id[24];

	other->there = true;
	if (!row_is_whole(key, value, sizeof(uint32_t)))
		return 0;
	if (key->mv_size == STORE_PARTITION_KEY &&
	    value->mv_size == sizeof(struct store_partition_row)) {
		struct store_partition_row row;

		memcpy(&row, value->mv_data, sizeof row);
		other->end = MAX(other->end, row.end);
	}
	if (key->mv_size != STORE_ID_KEY)
		return 0;
	snprintf(id, sizeof id, "%llu", (unsigned long long)store_key_id(key->mv_data));
	if (value->mv_size == sizeof(struct store_group_row)) {
		struct store_group_row row;

		memcpy(&row, value->mv_data, sizeof row);
		json_object_set_new(other->groups, id, json_integer((json_int_t)row.topic));
	} else if (value->mv_size >= sizeof(struct store_topic_row)) {
		struct store_topic_row row;

		memcpy(&row, value->mv_data, sizeof row);
		json_object_set_new(other->topics, id, json_integer(row.durability));
	}
	return 0;
}

// Reads the file of a store beside this one, as far as it goes. What is read of it is whole.
static int other_read(struct salvage *salvage, const char *name, struct other *ret)
{
	_cleanup_(freep) char *file = NULL;
	struct salvage_read read = {0};
	int r;

	*ret = (struct other){.salvage = salvage, .topics = json_object(), .groups = json_object()};
	if (asprintf(&file, "%.*s%s/data.mdb", (int)(strlen(salvage->path) - 2), salvage->path,
		     name) < 0)
		return -ENOMEM;
	r = salvage_read(file, other_take, ret, &read);
	return r == -ENOENT || r == -EUCLEAN ? 0 : r;
}

static void other_end(struct other *other)
{
	json_decref(other->topics);
	json_decref(other->groups);
}

// Groups of this store none of whose cursors may be left.
static int salvage_groups_lose(struct salvage *salvage)
{
	enum durability durability = salvage->d2 ? DURABILITY_D2 : DURABILITY_D1;
	const char *id;
	struct other rows;
	json_t *topic;
	int r = other_read(salvage, "d2", &rows);

	json_object_foreach(rows.groups, id, topic)
	{
		char name[24];

		snprintf(name, sizeof name, "%lld", (long long)json_integer_value(topic));
		if (!r && json_integer_value(json_object_get(rows.topics, name)) == durability)
			r = cursors_lose(salvage, strtoull(id, NULL, 10));
	}
	other_end(&rows);
	return r;
}

// The number of the D1 store, when the row that keeps it is lost: one that was never used.
static int generation_make(struct salvage *salvage)
{
	MDB_val key = {10, (void *)(uintptr_t)"generation"}, value;
	struct store_number number = {0};
	struct other d1;
	int r = mdb_get(salvage->txn, salvage->fresh.meta, &key, &value);

	if (r != MDB_NOTFOUND)
		return store_error(r);
	r = other_read(salvage, "d1", &d1);
	number.value = (d1.end >> STORE_GENERATION_BITS) + 1;
	if (!r && d1.there)
		r = row_put(salvage->txn, salvage->fresh.meta, &key, &number, sizeof number);
	other_end(&d1);
	return r;
}

static int format_make(struct salvage *salvage)
{
	struct store_number number = {.value = STORE_FORMAT};
	MDB_val key = {6, (void *)(uintptr_t)"format"}, value;
	int r = mdb_get(salvage->txn, salvage->fresh.meta, &key, &value);

	return r == MDB_NOTFOUND
		       ? row_put(salvage->txn, salvage->fresh.meta, &key, &number, sizeof number)
		       : store_error(r);
}

static int losses_write(struct salvage *salvage)
{
	const struct store *fresh = &salvage->fresh;
	int r = format_make(salvage);

	if (!r && salvage->d2)
		r = generation_make(salvage);
	if (r || !is_lossy(salvage))
		return r;
	r = each_row(salvage, fresh->chunks, partition_make);
	if (!r)
		r = each_row(salvage, fresh->cursors, cursor_group_look);
	if (!r)
		r = salvage_groups_lose(salvage);
	if (!r && salvage->d2)
		r = each_row(salvage, fresh->groups, group_topic_look);
	if (!r && salvage->d2)
		r = each_row(salvage, fresh->partitions, partition_topic_look);
	return r;
}

// ---- the report

static void missing_add(struct salvage *salvage, uint64_t topic, uint32_t partition, uint64_t first,
			uint64_t end)
{
	if (first < end && json_array_size(salvage->missing) < MISSING_MAX)
		json_array_append_new(salvage->missing,
				      json_pack("{s:I, s:I, s:I, s:I}", "topic", (json_int_t)topic,
						"partition", (json_int_t)partition, "first",
						(json_int_t)first, "end", (json_int_t)end));
}

// Walks the chunks of a partition from its first offset to its end.
static int partition_look(struct salvage *salvage, const MDB_val *key, const MDB_val *value)
{
	uint64_t topic = store_key_id(key->mv_data), at;
	uint32_t partition = store_key_partition(key->mv_data);
	struct store_partition_row row;
	struct chunk_view chunk;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(salvage->txn, salvage->fresh.chunks, &cursor);

	if (r)
		return store_error(r);
	memcpy(&row, value->mv_data, sizeof row);
	at = row.first;
	for (r = chunk_seek(cursor, topic, partition, at, &chunk); !r;
	     r = chunk_next(cursor, topic, partition, &chunk)) {
		missing_add(salvage, topic, partition, at, chunk.offset);
		at = MAX(at, chunk.offset + chunk.count);
		if (!chunk_is_whole(&chunk))
			missing_add(salvage, topic, partition, chunk.offset, at);
	}
	mdb_cursor_close(cursor);
	missing_add(salvage, topic, partition, at, row.end);
	return 0;
}

static json_t *report_make(struct salvage *salvage)
{
	uint64_t named = MAX(salvage->read.rows, salvage->taken);

	return json_pack("{s:s, s:I, s:I, s:I, s:b, s:O, s:O}", "kept", salvage->kept, "rows",
			 (json_int_t)salvage->taken, "lost", (json_int_t)(named - salvage->taken),
			 "pages", (json_int_t)salvage->read.lost_pages, "unsure",
			 (int)salvage->read.unsure, "missing", salvage->missing, "row_lost",
			 salvage->row_lost);
}

// ---- all of it

static int fill_store(struct salvage *salvage, const char *file)
{
	struct stat state;
	int r = stat(file, &state) < 0 ? -errno : fresh_open(salvage, (uint64_t)state.st_size);

	if (!r)
		r = salvage_read(file, row_take, salvage, &salvage->read);
	if (!r)
		r = losses_write(salvage);
	if (!r)
		r = each_row(salvage, salvage->fresh.partitions, partition_look);
	if (!r)
		r = txn_end(salvage);
	if (!r)
		r = store_error(mdb_env_sync(salvage->fresh.env, 1));
	if (salvage->txn)
		mdb_txn_abort(salvage->txn);
	if (salvage->fresh.env)
		mdb_env_close(salvage->fresh.env);
	return r;
}

// The new store of a salvage that did not succeed.
static void beside_remove(const struct salvage *salvage)
{
	static const char *const names[] = {"data.mdb", "lock.mdb"};

	for (size_t i = 0; i < ARRAY_SIZE(names); ++i) {
		_cleanup_(freep) char *file = NULL;

		if (asprintf(&file, "%s/%s", salvage->beside, names[i]) >= 0)
			unlink(file);
	}
	rmdir(salvage->beside);
}

static int put_in_place(const struct salvage *salvage)
{
	int r = directory_sync(salvage->beside);

	if (!r && rename(salvage->path, salvage->kept) < 0)
		r = -errno;
	if (!r && rename(salvage->beside, salvage->path) < 0)
		r = -errno;
	return r ? r : directory_sync_name(salvage->path);
}

static int salvage_run(struct salvage *salvage, char **ret_error)
{
	_cleanup_(freep) char *file = NULL;
	int r;

	if (asprintf(&file, "%s/data.mdb", salvage->path) < 0)
		return -ENOMEM;
	r = fill_store(salvage, file);
	if (r == -EEXIST)
		return set_error(r, ret_error, salvage->beside,
				 "it is there already; remove it, it is of a salvage that was "
				 "interrupted");
	if (r)
		beside_remove(salvage);
	if (r == -EUCLEAN)
		return set_error(r, ret_error, file, "neither of its two heads can be read");
	if (r)
		return set_error(r, ret_error, file, NULL);
	r = put_in_place(salvage);
	return r ? set_error(r, ret_error, salvage->path, NULL) : 0;
}

// Takes the same lock as a running daemon, so no process writes the store meanwhile. The report is
// the caller's to free.
int salvage_store(const char *path, json_t **ret_report, char **ret_error)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	struct salvage salvage = {.path = path, .d2 = strcmp(name, "d2") == 0};
	_cleanup_(closep) int lock = -1;
	int r = 0;

	if (!salvage.d2 && strcmp(name, "d1") != 0)
		return set_error(-EINVAL, ret_error, path,
				 "not the directory of a store: its name is d1 or d2");
	lock = store_lock_take(path);
	if (lock < 0)
		return set_error(lock, ret_error, path,
				 lock == -EBUSY ? "it is in use by another process; stop mqpaasd"
						: NULL);
	if (asprintf(&salvage.beside, "%s.salvage", path) < 0)
		salvage.beside = NULL;
	if (asprintf(&salvage.kept, "%s.damaged-%lld", path, (long long)clock_wall_ms()) < 0)
		salvage.kept = NULL;
	salvage.missing = json_array();
	salvage.row_lost = json_array();
	salvage.fresh.rows = &salvage.fresh;
	if (!salvage.beside || !salvage.kept || !salvage.missing || !salvage.row_lost)
		r = -ENOMEM;
	if (!r)
		r = salvage_run(&salvage, ret_error);
	if (!r)
		*ret_report = report_make(&salvage);
	json_decref(salvage.missing);
	json_decref(salvage.row_lost);
	free(salvage.beside);
	free(salvage.kept);
	return r;
}
