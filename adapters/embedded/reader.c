// A range is read in two steps inside one short transaction: find the records in the mapped pages
// and add up their sizes, then copy them into one buffer.

#include "adapters/embedded/reader.h"

#include "core/wire/record.h"

#include <errno.h>

#define THREADS_MAX 8u
#define ENTRIES_MAX 4096u

struct reader {
	pthread_t threads[THREADS_MAX];
	unsigned thread_count;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct log_job *jobs, **jobs_end;
	bool stopping;
};

static void *reader_thread(void *ctx)
{
	struct reader *reader = ctx;

	pthread_mutex_lock(&reader->lock);
	for (;;) {
		struct log_job *job;

		while (!reader->jobs && !reader->stopping)
			pthread_cond_wait(&reader->wake, &reader->lock);
		job = reader->jobs;
		if (!job)
			break;
		reader->jobs = job->next;
		if (!reader->jobs)
			reader->jobs_end = &reader->jobs;
		pthread_mutex_unlock(&reader->lock);
		job->run(job);
		pthread_mutex_lock(&reader->lock);
	}
	pthread_mutex_unlock(&reader->lock);
	return NULL;
}

int reader_start(unsigned threads, struct reader **ret)
{
	struct reader *reader = calloc(1, sizeof *reader);

	if (!reader)
		return -ENOMEM;
	reader->jobs_end = &reader->jobs;
	pthread_mutex_init(&reader->lock, NULL);
	pthread_cond_init(&reader->wake, NULL);
	while (reader->thread_count < MIN(threads, THREADS_MAX)) {
		int r = pthread_create(&reader->threads[reader->thread_count], NULL, reader_thread,
				       reader);

		if (r) {
			reader_stop(reader);
			return -r;
		}
		pthread_setname_np(reader->threads[reader->thread_count++], "store-read");
	}
	*ret = reader;
	return 0;
}

void reader_stop(struct reader *reader)
{
	if (!reader)
		return;
	pthread_mutex_lock(&reader->lock);
	reader->stopping = true;
	pthread_cond_broadcast(&reader->wake);
	pthread_mutex_unlock(&reader->lock);
	for (unsigned i = 0; i < reader->thread_count; ++i)
		pthread_join(reader->threads[i], NULL);
	pthread_mutex_destroy(&reader->lock);
	pthread_cond_destroy(&reader->wake);
	free(reader);
}

void reader_run(struct reader *reader, struct log_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&reader->lock);
	*reader->jobs_end = job;
	reader->jobs_end = &job->next;
	pthread_cond_signal(&reader->wake);
	pthread_mutex_unlock(&reader->lock);
}

// ---- fetching

struct found {
	struct log_entry entries[ENTRIES_MAX]; // records still in the mapped pages
	uint32_t count;
	size_t bytes;
	bool full;
};

// Takes from one chunk what the fetch wants. false: the chunk is damaged.
static bool chunk_take(const struct log_fetch *fetch, MDB_val value, uint64_t offset,
		       struct found *found)
{
	const struct store_chunk *chunk = value.mv_data;
	const uint8_t *at = chunk->records, *end = (const uint8_t *)value.mv_data + value.mv_size;
	uint64_t count;
	int64_t stored_ms;

	if (value.mv_size < sizeof *chunk)
		return false;
	count = le64_get(&chunk->count);
	stored_ms = (int64_t)le64_get(&chunk->stored_ms);
	for (uint64_t i = 0; i < count; ++i, ++offset) {
		uint32_t size;

		if (end - at < (ptrdiff_t)RECORD_HEAD_SIZE || (size = record_size(at)) > end - at ||
		    size < RECORD_HEAD_SIZE)
			return false;
		if (offset >= fetch->offset) {
			if (found->count &&
			    (found->bytes + size > fetch->max_bytes ||
			     found->count == MIN(fetch->max_messages, ENTRIES_MAX))) {
				found->full = true;
				return true;
			}
			found->entries[found->count++] =
				(struct log_entry){offset, stored_ms, at, size};
			found->bytes += size;
		}
		at += size;
	}
	return true;
}

// Puts the cursor on the chunk that holds `offset`, or on the next one.
static int chunk_seek(MDB_cursor *cursor, uint64_t topic, uint32_t partition, uint64_t offset,
		      MDB_val *key, MDB_val *value)
{
	uint8_t bytes[STORE_KEY_SIZE];
	int r;

	store_key(bytes, topic, partition, offset);
	*key = (MDB_val){sizeof bytes, bytes};
	r = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
	if (r == 0 && store_key_id(key->mv_data) == topic &&
	    store_key_partition(key->mv_data) == partition &&
	    store_key_offset(key->mv_data) == offset)
		return 0;
	r = mdb_cursor_get(cursor, key, value, r == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
	if (r == 0 && store_key_id(key->mv_data) == topic &&
	    store_key_partition(key->mv_data) == partition &&
	    value->mv_size >= sizeof(struct store_chunk) &&
	    store_key_offset(key->mv_data) + le64_get(value->mv_data) > offset)
		return 0;
	*key = (MDB_val){sizeof bytes, bytes};
	return mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
}

static int chunks_find(const struct log_fetch *fetch, MDB_cursor *cursor, struct found *found)
{
	const struct adapter_topic *topic = fetch->topic;
	MDB_val key, value;
	int r = chunk_seek(cursor, topic->id, fetch->partition, fetch->offset, &key, &value);

	while (r == 0 && !found->full) {
		if (key.mv_size != STORE_KEY_SIZE || store_key_id(key.mv_data) != topic->id ||
		    store_key_partition(key.mv_data) != fetch->partition)
			return 0;
		if (!chunk_take(fetch, value, store_key_offset(key.mv_data), found))
			return -EUCLEAN;
		r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	return r == MDB_NOTFOUND ? 0 : store_errno(r);
}

static int found_copy(struct log_fetch *fetch, const struct found *found)
{
	size_t entries_at = (found->bytes + 15) & ~(size_t)15;
	struct log_entry *entries;
	uint8_t *at;
	int r = buf_new(entries_at + found->count * sizeof *entries + 16, &fetch->buf);

	if (r < 0)
		return r;
	at = fetch->buf->data;
	entries = (struct log_entry *)(((uintptr_t)at + found->bytes + 15) & ~(uintptr_t)15);
	for (uint32_t i = 0; i < found->count; ++i) {
		const struct log_entry *entry = &found->entries[i];

		memcpy(at, entry->record, entry->size);
		entries[i] = (struct log_entry){entry->offset, entry->stored_ms, at, entry->size};
		at += entry->size;
	}
	fetch->entries = entries;
	fetch->count = found->count;
	return 0;
}

void reader_fetch(struct log_fetch *fetch)
{
	struct store *store = fetch->topic->store;
	struct found *found = malloc(sizeof *found);
	MDB_cursor *cursor;
	MDB_txn *txn;
	int r = found ? store_read_begin(store, &txn) : -ENOMEM;

	fetch->buf = NULL;
	fetch->entries = NULL;
	fetch->count = 0;
	if (!r) {
		found->count = 0;
		found->bytes = 0;
		found->full = false;
		r = store_errno(mdb_cursor_open(txn, store->chunks, &cursor));
		if (!r) {
			r = chunks_find(fetch, cursor, found);
			if (!r && found->count)
				r = found_copy(fetch, found);
			mdb_cursor_close(cursor);
		}
		mdb_txn_abort(txn);
	}
	free(found);
	fetch->code = __atomic_load_n(&fetch->topic->gone, __ATOMIC_RELAXED) ? CODE_NOT_FOUND
		      : r == 0                                               ? CODE_OK
		      : r == -ENOMEM                                         ? CODE_OVERLOADED
									     : CODE_BACKEND_ERROR;
}

// Store times never fall along a partition as long as the wall clock does not; where it did, the
// answer lies near the step.
int reader_find_time(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
		     uint64_t first, uint64_t end, int64_t time_ms, uint64_t *ret)
{
	uint64_t low = first, high = end;
	MDB_cursor *cursor;
	int r = store_errno(mdb_cursor_open(txn, store->chunks, &cursor));

	if (r < 0)
		return r;
	while (low < high) {
		MDB_val key, value;
		uint64_t base;

		r = chunk_seek(cursor, topic, partition, low + (high - low) / 2, &key, &value);
		if (r || store_key_id(key.mv_data) != topic ||
		    store_key_partition(key.mv_data) != partition)
			break;
		base = store_key_offset(key.mv_data);
		if ((int64_t)le64_get((const uint8_t *)value.mv_data + 8) < time_ms)
			low = MAX(low + 1, base + le64_get(value.mv_data));
		else
			high = MAX(low, MIN(base, high));
	}
	mdb_cursor_close(cursor);
	*ret = MIN(low, end);
	return r == MDB_NOTFOUND ? 0 : store_errno(r);
}
