// The incidents of a store in its table `damaged`, so that they are known after a restart.
//
// A find is written by a job of the committer, which may fail: a store that cannot be written keeps
// its incidents in memory, and finds them again after a restart. An incident is removed in the
// transaction that deals with the damage.
//
// damage.c is called from every depth of the store, also below the committer. It therefore passes a
// find on through a hook in the store, which is set here. Not here: the list in memory
// (damage_list.c).

#include "adapters/store/damage_table.h"

#include "adapters/store/committer.h"
#include "adapters/store/damage_list.h"
#include "adapters/store/error.h"
#include "adapters/store/fault.h"
#include "adapters/store/key.h"
#include "adapters/store/row.h"
#include "adapters/store/store.h"

#include <errno.h>

#define DAMAGE_KEY 29u // bytes: topic, partition, first offset, group, kind

struct damage_row {
	uint32_t crc;
	uint64_t end;
	int64_t found_ms;
} __attribute__((packed));

static void damage_key(const struct damage *damage, uint8_t key[DAMAGE_KEY])
{
	uint64_t group = __builtin_bswap64(damage->group);

	store_key(key, damage->topic, damage->partition, damage->first);
	memcpy(key + STORE_KEY, &group, 8);
	key[DAMAGE_KEY - 1] = (uint8_t)damage->kind;
}

static bool damage_read(const MDB_val *key, const MDB_val *value, struct damage *ret)
{
	const uint8_t *bytes = key->mv_data;
	const struct damage_row *row = value->mv_data;

	if (key->mv_size != DAMAGE_KEY || bytes[DAMAGE_KEY - 1] >= DAMAGE_KINDS ||
	    !row_is_whole(key, value, sizeof *row))
		return false;
	*ret = (struct damage){.kind = bytes[DAMAGE_KEY - 1],
			       .topic = store_key_id(bytes),
			       .partition = store_key_partition(bytes),
			       .first = store_key_offset(bytes),
			       .group = __builtin_bswap64(le64_get(bytes + STORE_KEY)),
			       .end = row->end,
			       .found_ms = row->found_ms};
	return true;
}

// What the table holds goes into the list, up to its end or the list's.
static int damage_table_load(struct store *store)
{
	MDB_val key, value;
	MDB_cursor *cursor;
	bool room = true;
	MDB_txn *txn;
	int r = store_read_begin(store, &txn);

	if (r < 0)
		return r;
	r = mdb_cursor_open(txn, store->damaged, &cursor);
	if (r) {
		mdb_txn_abort(txn);
		return store_error(r);
	}
	while (!r && room) {
		struct damage damage;

		r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
		if (!r && damage_read(&key, &value, &damage))
			room = damage_list_restore(store->damages, &damage);
	}
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

struct damage_job {
	struct committer_job job;
	struct damage damage;
};

static int put_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	const struct damage *damage = &CONTAINER_OF(base, struct damage_job, job)->damage;
	struct damage_row row = {.end = damage->end, .found_ms = damage->found_ms};
	uint8_t bytes[DAMAGE_KEY];
	MDB_val key = {sizeof bytes, bytes};

	damage_key(damage, bytes);
	return row_put(txn, committer_store(committer)->damaged, &key, &row, sizeof row);
}

static void put_done(struct committer_job *base, int r)
{
	free(CONTAINER_OF(base, struct damage_job, job));
}

static void damage_write(struct store *store, const struct damage *damage)
{
	struct damage_job *job = store->writer ? calloc(1, sizeof *job) : NULL;

	if (!job)
		return;
	job->damage = *damage;
	job->job.apply = put_apply;
	job->job.done = put_done;
	committer_run(store->writer, &job->job);
}

int damage_table_open(struct store *store)
{
	int r = damage_table_load(store);

	fault_at(NULL);
	if (!r)
		store->damage_found = damage_write;
	return r;
}

// ---- dealt with

static int table_forget(struct store *store, MDB_txn *txn, uint64_t topic, uint64_t group,
			uint32_t kinds)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, store->damaged, &cursor);

	if (r)
		return store_error(r);
	store_key(bytes, topic, 0, 0);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!r && key.mv_size == DAMAGE_KEY && store_key_id(key.mv_data) == topic) {
		struct damage damage;

		if (!damage_read(&key, &value, &damage) ||
		    damage_list_matches(&damage, topic, group, kinds))
			r = mdb_cursor_del(cursor, 0);
		if (!r)
			r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

int damage_table_forget(struct store *store, MDB_txn *txn, uint64_t topic, uint64_t group,
			uint32_t kinds)
{
	int r = table_forget(store, txn, topic, group, kinds);

	if (!r)
		damage_list_remove(store->damages, topic, group, kinds);
	return r;
}
