// Measures the bytes of topics and retry stores, in one read transaction of each store, so that the
// numbers are those of one commit.
//
// For a topic, the rows of its partitions hold the sum. For a group, every row of its retry store
// is visited, but only its size is read.
//
// Invariant: a number is known only if every row that it is made of could be read. Not here: pages
// that LMDB has freed, and other overhead of the file (committer_space()).

#include "adapters/store/usage.h"

#include "adapters/store/durable_log.h"
#include "adapters/store/row.h"

struct tables {
	MDB_txn *txn;
	MDB_cursor *partitions, *retries;
};

static void tables_close(struct tables *tables)
{
	if (tables->partitions)
		mdb_cursor_close(tables->partitions);
	if (tables->retries)
		mdb_cursor_close(tables->retries);
	if (tables->txn)
		mdb_txn_abort(tables->txn);
}

static bool tables_open(struct store *store, struct tables *ret)
{
	*ret = (struct tables){0};
	if (store_read_begin(store, &ret->txn)) {
		ret->txn = NULL;
		return false;
	}
	return !mdb_cursor_open(ret->txn, store->partitions, &ret->partitions) &&
	       !mdb_cursor_open(ret->txn, store->retries, &ret->retries);
}

// True: every row of the topic could be read.
static bool topic_sum(const struct tables *tables, uint64_t topic, uint64_t *ret)
{
	const struct store_partition_row *row;
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes}, value;
	uint64_t sum = 0;
	int r;

	store_key(bytes, topic, 0, 0);
	r = mdb_cursor_get(tables->partitions, &key, &value, MDB_SET_RANGE);
	for (; !r && key.mv_size == STORE_PARTITION_KEY && store_key_id(key.mv_data) == topic;
	     r = mdb_cursor_get(tables->partitions, &key, &value, MDB_NEXT)) {
		if (!row_is_whole(&key, &value, sizeof *row))
			return false;
		row = value.mv_data;
		sum += le64_get(&row->bytes);
	}
	*ret = sum;
	return !r || r == MDB_NOTFOUND;
}

static bool group_sum(const struct tables *tables, uint64_t group, uint64_t *ret)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	uint64_t sum = 0;
	int r;

	store_key(bytes, group, 0, 0);
	r = mdb_cursor_get(tables->retries, &key, &value, MDB_SET_RANGE);
	for (; !r && key.mv_size == STORE_KEY && store_key_id(key.mv_data) == group;
	     r = mdb_cursor_get(tables->retries, &key, &value, MDB_NEXT))
		sum += value.mv_size;
	*ret = sum;
	return !r || r == MDB_NOTFOUND;
}

void store_usage_measure(struct durable_log *log, struct stored_row *rows, size_t count)
{
	struct tables tables[CLASSES];
	bool open[CLASSES];

	for (int i = 0; i < CLASSES; ++i)
		open[i] = tables_open(log->stores[i], &tables[i]);
	for (size_t i = 0; i < count; ++i) {
		struct stored_row *row = &rows[i];
		int class = durable_log_class(row->topic);

		if (!open[class])
			continue;
		row->known =
			row->group ? group_sum(&tables[class], row->group->object.id, &row->bytes)
				   : topic_sum(&tables[class], row->topic->object.id, &row->bytes);
	}
	for (int i = 0; i < CLASSES; ++i)
		tables_close(&tables[i]);
}
