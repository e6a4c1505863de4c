// The row of a partition: where its messages begin and end, and how many bytes they take. Its
// chunks show the same.
//
// Invariant: chunks win. A row that is damaged, or missing though there are chunks, is rebuilt from
// them. A whole row that names more than its chunks hold means that messages are missing (-EUCLEAN
// or 1, and the caller reports it). No offset is given twice: an empty partition keeps the greater
// of the numbers in its damaged row.
//
// Not here: writing the row, which is part of every append (append.c).

#include "adapters/store/partition_row.h"

#include "adapters/store/chunk.h"
#include "adapters/store/error.h"
#include "adapters/store/key.h"
#include "adapters/store/row.h"
#include "adapters/store/store.h"

#include <errno.h>

static bool has_chunks(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	bool found;

	if (mdb_cursor_open(txn, store->chunks, &cursor))
		return false;
	store_key(bytes, topic, partition, 0);
	found = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE) == 0 &&
		chunk_is_of(&key, topic, partition) && chunk_head_is_whole(&key, &value);
	mdb_cursor_close(cursor);
	return found;
}

int partition_row_read(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
		       struct store_partition_row *ret)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes}, value;
	int r;

	store_key(bytes, topic, partition, 0);
	r = row_get(txn, store->partitions, &key, sizeof *ret, &value);
	if (!r)
		memcpy(ret, value.mv_data, sizeof *ret);
	if (!r && ret->first > ret->end)
		return -EUCLEAN;
	return r == -ENOENT && has_chunks(store, txn, topic, partition) ? -EUCLEAN : r;
}

// Of an empty partition only the damaged row itself says where it ended: one of two equal numbers
// may be wrong. Positions may be passed over, but none comes twice.
static void rebuild_empty(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			  struct store_partition_row *ret)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes}, value;
	struct store_partition_row row;

	store_key(bytes, topic, partition, 0);
	if (mdb_get(txn, store->partitions, &key, &value) || value.mv_size != sizeof row)
		return;
	memcpy(&row, value.mv_data, sizeof row);
	ret->end = MAX(row.first, row.end);
	if (ret->end >= 1ull << 62)
		ret->end = MIN(row.first, row.end);
	ret->end = MAX(ret->end, store_first_offset(store));
	ret->first = ret->end;
}

int partition_row_rebuild(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			  struct store_partition_row *ret)
{
	uint64_t first = store_first_offset(store);
	struct chunk_view chunk;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, store->chunks, &cursor);

	if (r)
		return store_error(r);
	*ret = (struct store_partition_row){.first = first, .end = first};
	r = chunk_seek(cursor, topic, partition, 0, &chunk);
	if (r == MDB_NOTFOUND)
		rebuild_empty(store, txn, topic, partition, ret);
	else if (r == 0)
		ret->first = chunk.offset;
	for (; r == 0 || r == MDB_CORRUPTED; r = chunk_next(cursor, topic, partition, &chunk)) {
		if (r)
			continue; // its place is found missing
		ret->end = chunk.offset + chunk.count;
		ret->bytes += sizeof(struct store_chunk) + chunk.size;
		ret->stored_ms = chunk.stored_ms;
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

// Looks at the first and the last chunk only, so that opening a topic stays quick; gaps in the
// middle are found by readers and the scrub.
int partition_row_check_ends(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			     const struct store_partition_row *row, uint64_t *ret_first,
			     uint64_t *ret_end)
{
	struct chunk_view chunk;
	MDB_cursor *cursor;
	int r;

	if (row->first == row->end)
		return 0;
	r = mdb_cursor_open(txn, store->chunks, &cursor);
	if (r)
		return store_error(r);
	*ret_first = row->first;
	r = chunk_seek(cursor, topic, partition, row->first, &chunk);
	if (r == 0 && chunk.offset == row->first) {
		*ret_first = row->end - 1;
		r = chunk_seek(cursor, topic, partition, row->end - 1, &chunk);
		if (r == 0 && chunk.offset < row->end && chunk.offset + chunk.count == row->end) {
			mdb_cursor_close(cursor);
			return 0;
		}
	}
	*ret_end = chunk_resume(cursor, topic, partition, *ret_first, row->end);
	mdb_cursor_close(cursor);
	return 1;
}
