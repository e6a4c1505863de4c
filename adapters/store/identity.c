// The identity of a store: the installation whose messages it holds, and the highest id that was
// ever used in it.
//
// The first keeps a daemon with another registry from serving these messages. The second keeps a
// new registry from giving an id a second meaning.
//
// The row holds installation u64, highest id u64, CRC-32C of both. A row that is absent or damaged
// is made anew from the ids in the tables: the next id of the registry is above them, unless the
// registry was lost as well, and that case asks an operator before it starts (server/recover.c).
//
// Invariant: the highest id is raised in the transaction that makes a topic or group and is never
// lowered, so that ids of what was deleted count too. Rows of a probe are not counted.
//
// Not here: deciding what to do with a store of another installation (server/recover.c).

#include "adapters/store/identity.h"

#include "adapters/store/check.h"
#include "core/base/crc32c.h"
#include "core/base/log.h"
#include "core/model/name.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define ROW_SIZE 20u

struct identity {
	uint64_t installation, highest;
};

static MDB_val row_key(void)
{
	return (MDB_val){8, (void *)(uintptr_t)"identity"};
}

// 1: it was read; 0: there is none that can be.
static int row_read(MDB_txn *txn, MDB_dbi meta, const char *path, struct identity *ret)
{
	MDB_val key = row_key(), value;
	const uint8_t *bytes;
	int r = mdb_get(txn, meta, &key, &value);

	*ret = (struct identity){0};
	if (r)
		return r == MDB_NOTFOUND ? 0 : store_error(r);
	bytes = value.mv_data;
	if (value.mv_size != ROW_SIZE || le32_get(bytes + 16) != crc32c(0, bytes, 16)) {
		log_error(NULL, "STORE-IDENTITY",
			  "%s: whose messages it holds is damaged; it is made anew", path);
		return 0;
	}
	*ret = (struct identity){le64_get(bytes), le64_get(bytes + 8)};
	return 1;
}

static int row_write(MDB_txn *txn, MDB_dbi meta, const struct identity *identity)
{
	uint8_t bytes[ROW_SIZE];
	MDB_val key = row_key(), value = {sizeof bytes, bytes};

	le64_put(bytes, identity->installation);
	le64_put(bytes + 8, identity->highest);
	le32_put(bytes + 16, crc32c(0, bytes, 16));
	return store_error(mdb_put(txn, meta, &key, &value, 0));
}

// The rows of a probe (docs/probe.md) have the id of their cluster and hold no user's messages: a
// store with nothing else is as good as unused.
static bool topic_is_probe(uint64_t id, const MDB_val *value)
{
	size_t size = sizeof(struct store_topic_row);

	return value->mv_size > size &&
	       name_is_probe((const char *)value->mv_data + size, value->mv_size - size);
}

static bool group_is_probe(uint64_t id, const MDB_val *value)
{
	struct store_group_row row;

	if (value->mv_size < sizeof row)
		return false;
	memcpy(&row, value->mv_data, sizeof row);
	return row.topic == id; // no other topic and group have one id
}

// The last key of a table but for probes; 0: it is empty.
static int last_id(MDB_txn *txn, MDB_dbi table, bool (*is_probe)(uint64_t id, const MDB_val *value),
		   uint64_t *ret)
{
	MDB_val key, value;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, table, &cursor);

	*ret = 0;
	if (r)
		return store_error(r);
	r = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
	while (r == 0 && key.mv_size == STORE_ID_KEY && is_probe(store_key_id(key.mv_data), &value))
		r = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
	if (r == 0 && key.mv_size == STORE_ID_KEY)
		*ret = store_key_id(key.mv_data);
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

// What the rows themselves say; *ret_holds: there is a topic or group.
static int read_rows(MDB_txn *txn, MDB_dbi topics, MDB_dbi groups, struct identity *identity,
		     bool *ret_holds)
{
	uint64_t topic, group = 0;
	int r = last_id(txn, topics, topic_is_probe, &topic);

	if (!r)
		r = last_id(txn, groups, group_is_probe, &group);
	identity->highest = MAX(identity->highest, MAX(topic, group));
	*ret_holds = topic || group;
	return r;
}

static int refuse_installation(const struct store *store, const struct identity *identity,
			       uint64_t installation, char **ret_error)
{
	if (asprintf(ret_error,
		     "%s holds messages of installation %016llx, the registry is of %016llx: put "
		     "that "
		     "registry back with mqpaasd --restore FILE, or move the directory away",
		     store->path, (unsigned long long)identity->installation,
		     (unsigned long long)installation) < 0)
		*ret_error = NULL;
	return -EPERM;
}

static int take_store(struct store *store, MDB_txn *txn, uint64_t installation, char **ret_error)
{
	struct identity identity;
	bool holds;
	int r = row_read(txn, store->meta, store->path, &identity), found = r;

	if (r >= 0)
		r = read_rows(txn, store->topics, store->groups, &identity, &holds);
	if (r < 0)
		return r;
	if (found && holds && identity.installation != installation)
		return refuse_installation(store, &identity, installation, ret_error);
	identity.installation = installation;
	return row_write(txn, store->meta, &identity);
}

int identity_take(struct store *store, uint64_t installation, char **ret_error)
{
	MDB_txn *txn;
	int r;

	assert(store->rows == store);
	if (!installation)
		return 0;
	r = store_write_begin(store, &txn);
	if (r < 0)
		return r;
	r = take_store(store, txn, installation, ret_error);
	if (r < 0) {
		mdb_txn_abort(txn);
		return r;
	}
	return store_error(mdb_txn_commit(txn));
}

int identity_see(struct store *store, MDB_txn *txn, uint64_t id)
{
	struct identity identity;
	int r = row_read(txn, store->meta, store->path, &identity);

	if (r != 1 || id <= identity.highest)
		return MIN(r, 0);
	identity.highest = id;
	return row_write(txn, store->meta, &identity);
}

// ---- without opening the store

// Calls fn for the value of each row; its keys are ids.
static int each_row(MDB_txn *txn, MDB_dbi table, json_t *list,
		    json_t *(*fn)(uint64_t id, const MDB_val *value))
{
	MDB_val key, value;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, table, &cursor);

	if (r)
		return store_error(r);
	r = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	while (!r) {
		json_t *row =
			key.mv_size == STORE_ID_KEY ? fn(store_key_id(key.mv_data), &value) : NULL;

		if (row)
			json_array_append_new(list, row);
		r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

static json_t *topic_json(uint64_t id, const MDB_val *value)
{
	struct store_topic_row row;

	if (value->mv_size < sizeof row || topic_is_probe(id, value))
		return NULL;
	memcpy(&row, value->mv_data, sizeof row);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "id", (json_int_t)id, "incarnation",
			 (json_int_t)row.incarnation, "partitions", (json_int_t)row.partitions,
			 "durability", (json_int_t)row.durability, "retention_ms",
			 (json_int_t)row.retention_ms, "retention_bytes",
			 (json_int_t)row.retention_bytes);
}

static json_t *group_json(uint64_t id, const MDB_val *value)
{
	struct store_group_row row;

	if (value->mv_size < sizeof row || group_is_probe(id, value))
		return NULL;
	memcpy(&row, value->mv_data, sizeof row);
	return json_pack("{s:I, s:I, s:I}", "id", (json_int_t)id, "incarnation",
			 (json_int_t)row.incarnation, "topic", (json_int_t)row.topic);
}

static int recall_txn(MDB_txn *txn, const char *path, struct adapter_recall *ret)
{
	struct identity identity = {0};
	MDB_dbi meta, topics, groups;
	int r = mdb_dbi_open(txn, "meta", 0, &meta);

	if (!r)
		r = mdb_dbi_open(txn, "topics", 0, &topics);
	if (!r)
		r = mdb_dbi_open(txn, "groups", 0, &groups);
	if (r)
		return store_error(r);
	r = row_read(txn, meta, path, &identity);
	if (r >= 0)
		r = read_rows(txn, topics, groups, &identity, &ret->holds);
	if (r >= 0)
		r = each_row(txn, topics, ret->topics, topic_json);
	if (r >= 0)
		r = each_row(txn, groups, ret->groups, group_json);
	ret->installation = identity.installation;
	ret->highest_id = identity.highest;
	return r;
}

static int recall_env(MDB_env *env, const char *path, struct adapter_recall *ret)
{
	MDB_txn *txn;
	int r = mdb_env_set_maxdbs(env, 16);

	if (!r)
		r = mdb_env_open(env, path, MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0600);
	if (!r)
		r = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
	if (r)
		return store_error(r);
	r = recall_txn(txn, path, ret);
	mdb_txn_abort(txn);
	return r;
}

int identity_recall(const char *data_dir, struct adapter_recall *ret)
{
	_cleanup_(freep) char *path = NULL, *file = NULL;
	const char *problem;
	struct stat state;
	MDB_env *env;
	int r;

	*ret = (struct adapter_recall){0};
	if (asprintf(&path, "%s/d2", data_dir) < 0 || asprintf(&file, "%s/data.mdb", path) < 0)
		return -ENOMEM;
	if (stat(file, &state) < 0 || state.st_size == 0) // empty: a kill at the first start
		return -ENOENT;
	r = check_file(file, false, &problem);
	if (!r)
		r = store_error(mdb_env_create(&env));
	if (r)
		return r;
	ret->topics = json_array();
	ret->groups = json_array();
	r = recall_env(env, path, ret);
	mdb_env_close(env);
	return r;
}
