// The retry store of a group: messages that wait longer than its window should hold them.
//
// A message has two rows, one found by its position and one by its due time. Both are changed
// together, in the transaction that moves the cursor past it.
//
// Invariant: for each row by position there is one by due time and the other way round, and the
// cursor counts them; what breaks that is damage (scrub.c). A record is copied out of the log once,
// and is then kept here even if retention deletes the original.
//
// Not here: reading what is due (source_requests.c), and when a message waits here (adapters/log).

#include "adapters/store/retry.h"

#include "adapters/store/error.h"
#include "adapters/store/key.h"
#include "adapters/store/range.h"
#include "adapters/store/row.h"

#include <errno.h>

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

	assert(kept->record && retry->due_ms > 0); // 0: where a look begins
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

// One write of a commit: takes the old row out, if there is one, and puts the new one in. `counts`
// is changed to match and written with the cursor. `missing` is set when the log no longer has the
// record; the commit goes on.
int store_retry_apply(struct store *store, MDB_txn *txn, uint64_t group, uint64_t topic,
		      struct log_retry *retry, struct log_cursor *counts)
{
	struct kept kept = {0};
	int r = retry_take(store, txn, group, retry, &kept);

	if (!r)
		--*count_of(counts, kept.attempts);
	else if (r == -ENOENT && retry->put)
		r = store_range_copy(store, txn, topic, retry->partition, retry->offset,
				     &kept.record, &kept.size, &kept.stored_ms);
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

int store_retry_count(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
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

int store_retry_delete(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
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
