// The position of a group in one partition, with its commit metadata, which belongs to the log
// source (adapters/log/window_text.c) and is only stored here. The row also counts the group's rows
// in its retry store for that partition, so that a backlog need not walk over them.
//
// One more row counts the cursors of a group. Without it a missing cursor would be taken for that
// of a partition that never had one, and the group would begin anew there.
//
// Invariant: every partition below that count has a row; a missing one is damage. Not here: which
// position may be committed, and whether the group exists (group_row.h).

#include "adapters/store/cursor.h"

#include "adapters/store/row.h"

#include <errno.h>

// The text in a row has no zero behind it, and the mapped file may end there.
static char *text_copy(const char *text, size_t size)
{
	char *copy = malloc(size + 1);

	if (copy) {
		memcpy(copy, text, size);
		copy[size] = '\0';
	}
	return copy;
}

int cursor_count(struct store *store, MDB_txn *txn, uint64_t group, uint64_t *ret)
{
	const struct store_cursor *row;
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes}, value;
	int r;

	store_key(bytes, group, CURSOR_COUNT, 0);
	r = row_get(txn, store->cursors, &key, sizeof *row, &value);
	if (r)
		return r;
	row = value.mv_data;
	*ret = le64_get(&row->position);
	return 0;
}

// A partition that a topic has grown by may get its cursor before those in front of it: they get
// one that stands at the beginning, or they would be counted and missing.
static int cursors_begin(struct store *store, MDB_txn *txn, uint64_t group, uint64_t from,
			 uint32_t until)
{
	struct store_cursor row = {0};
	int r = 0;

	le64_put(&row.position, store_first_offset(store));
	for (uint64_t partition = from; !r && partition < until; ++partition) {
		uint8_t bytes[STORE_KEY];
		MDB_val key = {STORE_PARTITION_KEY, bytes}, value;

		store_key(bytes, group, (uint32_t)partition, 0);
		r = row_get(txn, store->cursors, &key, sizeof row, &value);
		if (r == -ENOENT)
			r = row_put(txn, store->cursors, &key, &row, sizeof row);
		else if (r == -EUCLEAN)
			r = 0; // it is there; its reader is told
	}
	return r;
}

// Partitions are numbered from 0. The count of one that is damaged says nothing of which had one.
static int cursor_counted(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition)
{
	struct store_cursor row = {.position = partition + 1ull};
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes};
	uint64_t count = 0;
	int r = cursor_count(store, txn, group, &count);

	if ((r && r != -ENOENT && r != -EUCLEAN) || (!r && count > partition))
		return r;
	if (r != -EUCLEAN) {
		r = cursors_begin(store, txn, group, count, partition);
		if (r)
			return r;
	}
	store_key(bytes, group, CURSOR_COUNT, 0);
	return row_put(txn, store->cursors, &key, &row, sizeof row);
}

// Without a row the group begins at the store's first offset, but only if it is not counted.
// `ret->text` is the caller's to free.
int cursor_get(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
	       struct log_cursor *ret)
{
	const struct store_cursor *row;
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes}, value;
	uint64_t count;
	int r;

	store_key(bytes, group, partition, 0);
	r = row_get(txn, store->cursors, &key, sizeof *row, &value);
	*ret = (struct log_cursor){.partition = partition, .position = store_first_offset(store)};
	if (r == -ENOENT) {
		r = cursor_count(store, txn, group, &count);
		if (r == -EUCLEAN || (r == 0 && partition < count))
			return -EUCLEAN;
		ret->text = strdup("");
		return ret->text ? 0 : -ENOMEM;
	}
	if (r)
		return r;
	row = value.mv_data;
	ret->position = le64_get(&row->position);
	ret->retrying = le64_get(&row->retrying);
	ret->delayed = le64_get(&row->delayed);
	ret->text = text_copy(row->text, value.mv_size - sizeof *row);
	return ret->text ? 0 : -ENOMEM;
}

int cursor_put(struct store *store, MDB_txn *txn, uint64_t group, const struct log_cursor *cursor)
{
	struct store_cursor *row;
	uint8_t bytes[STORE_KEY];
	size_t size = strlen(cursor->text);
	MDB_val key = {STORE_PARTITION_KEY, bytes}, value = {sizeof *row + size, NULL};
	int r;

	store_key(bytes, group, cursor->partition, 0);
	r = mdb_put(txn, store->cursors, &key, &value, MDB_RESERVE);
	if (r)
		return store_error(r);
	row = value.mv_data;
	le64_put(&row->position, cursor->position);
	le64_put(&row->retrying, cursor->retrying);
	le64_put(&row->delayed, cursor->delayed);
	memcpy(row->text, cursor->text, size);
	row_seal(&key, row, value.mv_size);
	return cursor_counted(store, txn, group, cursor->partition);
}
