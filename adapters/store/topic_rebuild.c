// Rebuilds the row of a topic.
//
// A topic whose row is damaged, or lies under a damaged key, cannot be opened, though its messages
// exist. Everything that the row holds is known elsewhere: the registry knows incarnation,
// retention and class, and the rows of partitions and chunks show how many partitions there are.
//
// Invariant: a whole row is never replaced. If it names another incarnation, the registry is wrong,
// not the store. Ids are never used twice, so what is stored under this id belongs to this topic.
//
// Not here: other damage of the topic, which is found when it is opened again.

#include "adapters/store/topic_rebuild.h"

#include "adapters/store/chunk.h"
#include "adapters/store/damage.h"
#include "adapters/store/damage_table.h"
#include "adapters/store/identity.h"
#include "adapters/store/row.h"
#include "adapters/store/topic_row.h"

#include <errno.h>

static bool is_whole(const MDB_val *key, const MDB_val *value)
{
	return key->mv_size == STORE_KEY
		       ? chunk_head_is_whole(key, value)
		       : row_is_whole(key, value, sizeof(struct store_partition_row));
}

// The highest partition with a whole row in the table, and one: at least that many there are.
static int partitions_in(MDB_txn *txn, MDB_dbi table, uint64_t topic, uint32_t *count)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, table, &cursor);

	if (r)
		return store_error(r);
	store_key(bytes, topic, UINT32_MAX, UINT64_MAX);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	r = mdb_cursor_get(cursor, &key, &value, r == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
	while (!r && key.mv_size >= STORE_PARTITION_KEY && store_key_id(key.mv_data) == topic &&
	       !is_whole(&key, &value))
		r = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
	if (!r && key.mv_size >= STORE_PARTITION_KEY && store_key_id(key.mv_data) == topic)
		*count = MAX(*count, store_key_partition(key.mv_data) + 1);
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

// The partitions that its own store shows.
static int partitions_count(struct durable_log *log, MDB_txn *txn, const struct topic *topic,
			    uint32_t *ret)
{
	struct store *store = log->stores[durable_log_class(topic)];
	MDB_txn *own = txn;
	int r = 0;

	*ret = 0;
	if (store->rows != store)
		r = store_read_begin(store, &own);
	if (!r)
		r = partitions_in(own, store->partitions, topic->object.id, ret);
	if (!r)
		r = partitions_in(own, store->chunks, topic->object.id, ret);
	if (own != txn && own)
		mdb_txn_abort(own);
	return r;
}

int topic_rebuild(struct durable_log *log, MDB_txn *txn, const struct topic *topic, bool preview)
{
	struct store *rows = log->stores[CLASS_D2];
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes}, value;
	uint32_t partitions;
	int r, state;

	store_key(bytes, topic->object.id, 0, 0);
	state = row_get(txn, rows->topics, &key, sizeof(struct store_topic_row), &value);
	if (state != -ENOENT && state != -EUCLEAN)
		return state ? state : -ENOENT;
	r = partitions_count(log, txn, topic, &partitions);
	if (!r && state == -ENOENT && partitions == 0)
		r = -ENOENT;
	if (r || preview)
		return r;
	r = topic_row_put(rows, txn, topic, MAX(partitions, topic->partitions));
	if (!r)
		r = identity_see(rows, txn, topic->object.id);
	return r ? r : damage_table_forget(rows, txn, topic->object.id, 0, 1u << DAMAGE_TOPIC);
}
