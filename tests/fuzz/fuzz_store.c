// The rows of the embedded store as a damaged file may hold them: every reader of chunks, cursors
// and retries answers or refuses, and what a fetch hands out lies inside its buffer.
//
// First byte: bit 0: checksums of chunks and retries are put right; bits 1 to 3: what is asked for.
// Then rows: a byte for the table, one for the offset, two for the size, the row. All are of topic
// 1, group 1, partition 0.

#include "adapters/store/chunk.h"
#include "adapters/store/cursor.h"
#include "adapters/store/range.h"
#include "adapters/store/retry.h"
#include "adapters/store/row.h"
#include "adapters/store/topic.h"
#include "core/base/crc32c.h"
#include "core/base/log.h"
#include "core/wire/record.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <sys/stat.h>

#define ID        1u
#define ROW_HEAD  4u
#define OFFSETS   256u
#define MAP_BYTES (64ull << 20)
#define FETCHED   (1u << 20)

static struct store *store;
static char folder[256]; // better in memory: two transactions an input

static void silent(void *ctx, enum log_level level, const char *line, size_t size)
{
	assert(size > 0 && line[0] == '{');
}

static void at_end(void)
{
	static const char *const names[] = {"data.mdb", "lock.mdb", "lock", "boot"};
	char path[300];

	store_close(store);
	for (size_t i = 0; i < ARRAY_SIZE(names); ++i) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *temporary = getenv("TMPDIR");
	char *error = NULL;

	snprintf(folder, sizeof folder, "%s/mqpaas-fuzz-XXXXXX", temporary ? temporary : "/tmp");
	log_set_sink(silent, NULL);
	if (!mkdtemp(folder) || store_open(folder, NULL, MAP_BYTES, &store, &error) != 0) {
		fprintf(stderr, "no store in %s: %s\n", folder, error ? error : "");
		return -1;
	}
	return atexit(at_end);
}

// ---- Rows ------------------------------------------------------------------------------------

static void put(MDB_txn *txn, MDB_dbi table, const void *key, size_t key_size, const void *row,
		size_t size)
{
	MDB_val name = {key_size, (void *)(uintptr_t)key}, value = {size, (void *)(uintptr_t)row};

	assert(mdb_put(txn, table, &name, &value, 0) == 0);
}

static void put_retry(MDB_txn *txn, const uint8_t *key, uint8_t *row, size_t size, bool right)
{
	struct store_retry *retry = (struct store_retry *)row;
	struct store_due value;
	uint8_t due[STORE_DUE_KEY];

	if (size >= sizeof *retry && right)
		row_seal(&(MDB_val){STORE_KEY, (void *)(uintptr_t)key}, row, size);
	put(txn, store->retries, key, STORE_KEY, row, size);
	if (size >= sizeof *retry) {
		store_key_due(due, ID, le64_get(&retry->due_ms), 0, store_key_offset(key));
		row_seal(&(MDB_val){sizeof due, due}, &value, sizeof value);
		put(txn, store->dues, due, sizeof due, &value, sizeof value);
	}
}

static void put_chunk(MDB_txn *txn, const uint8_t *key, uint8_t *row, size_t size, bool right)
{
	struct store_chunk *chunk = (struct store_chunk *)row;

	if (size >= sizeof *chunk && right)
		chunk_seal(&(MDB_val){STORE_KEY, (void *)(uintptr_t)key}, chunk,
			   size - sizeof *chunk);
	put(txn, store->chunks, key, STORE_KEY, row, size);
}

static void put_rows(MDB_txn *txn, const uint8_t *data, size_t size, bool right)
{
	struct store_partition_row partition = {.end = OFFSETS};
	uint8_t key[STORE_KEY], *row;

	store_key(key, ID, 0, 0);
	row_seal(&(MDB_val){STORE_PARTITION_KEY, key}, &partition, sizeof partition);
	put(txn, store->partitions, key, STORE_PARTITION_KEY, &partition, sizeof partition);
	while (size >= ROW_HEAD) {
		size_t bytes = MIN((size_t)(data[2] | data[3] << 8), size - ROW_HEAD);

		row = malloc(bytes + 1);
		assert(row);
		memcpy(row, data + ROW_HEAD, bytes);
		store_key(key, ID, 0, data[1]);
		if (data[0] % 3 == 0)
			put_chunk(txn, key, row, bytes, right);
		else if (data[0] % 3 == 1)
			put(txn, store->cursors, key, STORE_PARTITION_KEY, row, bytes);
		else
			put_retry(txn, key, row, bytes, right);
		free(row);
		data += ROW_HEAD + bytes;
		size -= ROW_HEAD + bytes;
	}
}

// ---- Readers ---------------------------------------------------------------------------------

static void read_chunks(MDB_txn *txn, uint64_t offset)
{
	uint8_t *record;
	uint32_t size;
	int64_t stored_ms;
	uint64_t found;

	(void)store_range_oldest_ms(store, txn, ID, 0);
	if (store_range_find_time(store, txn, ID, 0, 0, OFFSETS, (int64_t)offset, &found) == 0)
		assert(found <= OFFSETS);
	if (store_range_copy(store, txn, ID, 0, offset, &record, &size, &stored_ms) == 0) {
		assert(size >= RECORD_HEAD_SIZE && record_size(record) == size);
		free(record);
	}
}

static void change_retries(MDB_txn *txn, uint64_t offset, bool keep)
{
	struct log_cursor cursor;
	struct log_retry retry = {.offset = offset, .due_ms = 7, .attempts = 1, .put = keep};
	uint64_t before, after;

	if (cursor_get(store, txn, ID, 0, &cursor) == 0) {
		(void)store_retry_apply(store, txn, ID, ID, &retry, &cursor);
		assert(cursor_put(store, txn, ID, &cursor) == 0);
		free(cursor.text);
	}
	assert(store_retry_count(store, txn, ID, 0, OFFSETS, &before) == 0 && before <= OFFSETS);
	if (store_retry_delete(store, txn, ID, 0, OFFSETS) >= 0)
		assert(store_retry_count(store, txn, ID, 0, OFFSETS, &after) == 0 && after == 0);
}

static void fetch(uint64_t offset)
{
	struct adapter_topic topic = {.store = store, .id = ID};
	struct log_fetch fetch = {.topic = &topic,
				  .offset = offset,
				  .until = OFFSETS,
				  .max_messages = 64,
				  .max_bytes = FETCHED};
	volatile uint32_t sum = 0; // of bytes that must be readable

	store_range_fetch(&fetch);
	for (uint32_t i = 0; fetch.buf && i < fetch.count; ++i) {
		const struct log_entry *entry = &fetch.entries[i];

		assert(entry->offset >= offset && entry->offset < fetch.next);
		assert(entry->size >= RECORD_HEAD_SIZE &&
		       record_size(entry->record) == entry->size);
		sum = crc32c(sum, entry->record, entry->size);
	}
	if (fetch.buf)
		assert(fetch.next > offset);
	buf_unref(fetch.buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	MDB_txn *txn;
	uint64_t offset;

	if (size == 0)
		return 0;
	offset = data[0] >> 1 & 7;
	assert(mdb_txn_begin(store->env, NULL, 0, &txn) == 0);
	put_rows(txn, data + 1, size - 1, data[0] & 1);
	read_chunks(txn, offset);
	assert(mdb_txn_commit(txn) == 0);
	fetch(offset);
	assert(mdb_txn_begin(store->env, NULL, 0, &txn) == 0);
	change_retries(txn, offset, data[0] & 0x10);
	assert(mdb_drop(txn, store->chunks, 0) == 0 && mdb_drop(txn, store->cursors, 0) == 0 &&
	       mdb_drop(txn, store->retries, 0) == 0 && mdb_drop(txn, store->dues, 0) == 0);
	assert(mdb_txn_commit(txn) == 0);
	return 0;
}
