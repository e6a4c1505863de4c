// A retry row is found by its position and by its due time; both are changed together. The cursor's
// row counts the rows of its partition, so that nobody has to.
//
// One more row of the table counts the cursors of a group: else one that is missing would be taken
// for that of a partition that never had one, and the group would begin anew there.

#include "adapters/embedded/cursor.h"

#include "adapters/embedded/reader.h"
#include "adapters/embedded/row.h"

#include <errno.h>

// ---- cursors

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
			r = 0; // it is there; who reads it is told
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

// ---- retries

// What is moved when a row is written anew.
struct kept {
	uint8_t *record;
	uint32_t size, attempts;
	uint64_t due_ms;
	int64_t stored_ms;
};

static uint64_t *count_of(struct log_cursor *counts, uint32_t attempts)
{
	return attempts ? &counts->retrying : &counts->delayed;
}

// Takes the row out. -ENOENT: there is none.
static int retry_take(struct store *store, MDB_txn *txn, uint64_t group,
		      const struct log_retry *retry, struct kept *ret)
{
	const struct store_retry *row;
	uint8_t bytes[STORE_KEY], due_bytes[STORE_DUE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value, due_key = {sizeof due_bytes, due_bytes};
	int r;

	store_key(bytes, group, retry->partition, retry->offset);
	r = row_get(txn, store->retries, &key, sizeof *row, &value);
	if (r)
		return r;
	row = value.mv_data;
	*ret = (struct kept){.size = (uint32_t)(value.mv_size - sizeof *row),
			     .attempts = le32_get(&row->attempts),
			     .due_ms = le64_get(&row->due_ms),
			     .stored_ms = (int64_t)le64_get(&row->stored_ms)};
	if (retry->put) {
		ret->record = malloc(ret->size);
		if (!ret->record)
			return -ENOMEM;
		memcpy(ret->record, row->record, ret->size);
	}
	store_key_due(due_bytes, group, ret->due_ms, retry->partition, retry->offset);
	r = mdb_del(txn, store->dues, &due_key, NULL);
	if (!r || r == MDB_NOTFOUND)
		r = mdb_del(txn, store->retries, &key, NULL);
	return store_error(r);
}

static int retry_put(struct store *store, MDB_txn *txn, uint64_t group,
		     const struct log_retry *retry, const struct kept *kept)
{
	struct store_retry *row;
	uint8_t bytes[STORE_KEY], due_bytes[STORE_DUE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value = {sizeof *row + kept->size, NULL},
		due_key = {sizeof due_bytes, due_bytes};
	struct store_due due;
	int r;

	assert(kept->record);
	store_key(bytes, group, retry->partition, retry->offset);
	r = mdb_put(txn, store->retries, &key, &value, MDB_RESERVE);
	if (r)
		return store_error(r);
	row = value.mv_data;
	le64_put(&row->due_ms, retry->due_ms);
	le64_put(&row->stored_ms, (uint64_t)kept->stored_ms);
	le32_put(&row->attempts, retry->attempts);
	memcpy(row->record, kept->record, kept->size);
	row_seal(&key, row, value.mv_size);
	store_key_due(due_bytes, group, retry->due_ms, retry->partition, retry->offset);
	return row_put(txn, store->dues, &due_key, &due, sizeof due);
}

int retry_apply(struct store *store, MDB_txn *txn, uint64_t group, uint64_t topic,
		struct log_retry *retry, struct log_cursor *counts)
{
	struct kept kept = {0};
	int r = retry_take(store, txn, group, retry, &kept);

	if (!r)
		--*count_of(counts, kept.attempts);
	else if (r == -ENOENT && retry->put)
		r = reader_copy(store, txn, topic, retry->partition, retry->offset, &kept.record,
				&kept.size, &kept.stored_ms);
	retry->missing = retry->put && r == -ENOENT;
	if (!r && retry->put) {
		r = retry_put(store, txn, group, retry, &kept);
		++*count_of(counts, retry->attempts);
	}
	free(kept.record);
	return r == -ENOENT ? 0 : r;
}

static bool is_of_group(const MDB_val *key, uint64_t group, uint32_t partition)
{
	return key->mv_size == STORE_KEY && store_key_id(key->mv_data) == group &&
	       (partition == UINT32_MAX || store_key_partition(key->mv_data) == partition);
}

int retry_count(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
		uint64_t until, uint64_t *ret)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, store->retries, &cursor);

	*ret = 0;
	if (r)
		return store_error(r);
	store_key(bytes, group, partition, 0);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!r && is_of_group(&key, group, partition) && store_key_offset(key.mv_data) < until) {
		++*ret;
		r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

// Due times whose rows are gone: the row they belonged to was damaged, so it did not name them.
static int dues_delete(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
		       unsigned max)
{
	uint8_t bytes[STORE_DUE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	unsigned gone = 0;
	int r = mdb_cursor_open(txn, store->dues, &cursor);

	if (r)
		return store_error(r);
	store_key_due(bytes, group, 0, 0, 0);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!r && gone < max && key.mv_size == sizeof bytes &&
	       store_key_id(key.mv_data) == group) {
		if (partition == UINT32_MAX || store_key_due_partition(key.mv_data) == partition) {
			r = mdb_cursor_del(cursor, 0);
			++gone;
		}
		if (!r)
			r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r && r != MDB_NOTFOUND ? store_error(r) : (int)gone;
}

int retry_delete(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
		 unsigned max)
{
	uint8_t bytes[STORE_KEY], due_bytes[STORE_DUE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value, due_key = {sizeof due_bytes, due_bytes};
	MDB_cursor *cursor;
	unsigned gone = 0;
	int r = mdb_cursor_open(txn, store->retries, &cursor);

	if (r)
		return store_error(r);
	store_key(bytes, group, partition == UINT32_MAX ? 0 : partition, 0);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!r && gone < max && is_of_group(&key, group, partition)) {
		// A row that is damaged goes too; its due time goes last.
		if (value.mv_size >= sizeof(struct store_retry)) {
			const struct store_retry *row = value.mv_data;

			store_key_due(due_bytes, group, le64_get(&row->due_ms),
				      store_key_partition(key.mv_data),
				      store_key_offset(key.mv_data));
			r = mdb_del(txn, store->dues, &due_key, NULL);
		}
		if (!r || r == MDB_NOTFOUND)
			r = mdb_cursor_del(cursor, 0);
		if (!r)
			r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
		++gone;
	}
	mdb_cursor_close(cursor);
	if (r && r != MDB_NOTFOUND)
		return store_error(r);
	return gone ? (int)gone : dues_delete(store, txn, group, partition, max);
}
