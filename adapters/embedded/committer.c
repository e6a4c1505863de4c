// Appends of a transaction are put together into chunks; a long run that arrived in one piece goes
// straight from its frame into the page.
//
// If a transaction fails, nothing of it is stored: its appends are answered (REJECTED before the
// commit was tried, UNKNOWN after) and its other jobs are tried again, each alone, so that one bad
// job harms no other.
//
// Space: appending stops while less than STORE_RESERVE is free in the map or on the disk; deleting
// and cursors go on.

#include "adapters/embedded/committer.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <time.h>

#define BATCH_BYTES    (16u << 20)            // appended in one transaction at most
#define CHUNK_BYTES    (STORE_CHUNK_MAX - 64) // a chunk with its head fits in whole pages
#define DIRECT_BYTES   2048u // a run that long is not copied together with others first
#define SPACE_CHECK_NS (200 * MS_NS)
#define RETRY_AFTER_MS 1000u

struct committer {
	struct store *store;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	struct submit *submits, **submits_end; // under the lock
	struct committer_job *jobs, **jobs_end;

	// The thread's own.
	struct store_partition *touched;
	struct store_chunk *spare; // room for open chunks
	int64_t stored_ms;
	uint64_t space_checked_ns;
	bool full;
	enum store_health health; // atomic
};

struct store *committer_store(const struct committer *committer)
{
	return committer->store;
}

enum store_health committer_health(const struct committer *committer)
{
	return __atomic_load_n(&committer->health, __ATOMIC_RELAXED);
}

// ---- the rows of a transaction

struct store_partition *committer_touch(struct committer *committer,
					struct store_partition *partition)
{
	if (!partition->touched) {
		partition->touched = true;
		partition->touched_next = committer->touched;
		committer->touched = partition;
		partition->next_first = partition->first;
		partition->next_end = partition->end;
		partition->next_bytes = partition->bytes;
	}
	return partition;
}

static int chunk_put(struct committer *committer, MDB_txn *txn, struct store_partition *partition,
		     uint64_t offset, uint64_t count, const uint8_t *records, size_t size)
{
	uint8_t bytes[STORE_KEY_SIZE];
	MDB_val key = {sizeof bytes, bytes}, value = {sizeof(struct store_chunk) + size, NULL};
	struct store_chunk *chunk;
	int r;

	store_key(bytes, partition->topic->id, partition->number, offset);
	r = mdb_put(txn, committer->store->chunks, &key, &value, MDB_RESERVE);
	if (r)
		return store_errno(r);
	chunk = value.mv_data;
	le64_put(&chunk->count, count);
	le64_put(&chunk->stored_ms, (uint64_t)committer->stored_ms);
	memcpy(chunk->records, records, size);
	partition->next_bytes += value.mv_size;
	return 0;
}

static int open_chunk_flush(struct committer *committer, MDB_txn *txn,
			    struct store_partition *partition)
{
	int r;

	if (!partition->open_size)
		return 0;
	r = chunk_put(committer, txn, partition, partition->open_offset,
		      partition->next_end - partition->open_offset, partition->open_chunk->records,
		      partition->open_size);
	partition->open_size = 0;
	return r;
}

static void open_chunk_drop(struct committer *committer, struct store_partition *partition)
{
	if (partition->open_chunk && !committer->spare)
		committer->spare = partition->open_chunk;
	else
		free(partition->open_chunk);
	partition->open_chunk = NULL;
	partition->open_size = 0;
}

static int open_chunk_add(struct committer *committer, MDB_txn *txn,
			  struct store_partition *partition, const uint8_t *records, size_t size,
			  uint32_t count)
{
	int r = 0;

	if (partition->open_size + size > CHUNK_BYTES)
		r = open_chunk_flush(committer, txn, partition);
	if (r < 0)
		return r;
	if (!partition->open_chunk) {
		partition->open_chunk =
			committer->spare ? committer->spare
					 : malloc(sizeof *partition->open_chunk + CHUNK_BYTES);
		committer->spare = NULL;
		if (!partition->open_chunk)
			return -ENOMEM;
	}
	if (!partition->open_size)
		partition->open_offset = partition->next_end;
	memcpy(partition->open_chunk->records + partition->open_size, records, size);
	partition->open_size += size;
	partition->next_end += count;
	return 0;
}

// Records [at, end) that lie one behind the other in memory and go to one partition, at most a
// chunk of them (one at least).
static uint32_t run_length(const struct submit *submit, uint32_t at, size_t *ret_size)
{
	const struct submit_record *first = &submit->records[at];
	size_t size = first->size;
	uint32_t end = at + 1;

	for (; end < submit->count; ++end) {
		const struct submit_record *record = &submit->records[end];

		if (record->partition != first->partition || record->data != first->data + size ||
		    size + record->size > CHUNK_BYTES)
			break;
		size += record->size;
	}
	*ret_size = size;
	return end - at;
}

static int append(struct committer *committer, MDB_txn *txn, struct submit *submit)
{
	struct submit_run run = {.outcome = OUTCOME_OK,
				 .code = CODE_OK,
				 .durability = (uint8_t)committer->store->durability};

	submit->run_count = 0;
	for (uint32_t at = 0; at < submit->count; at += run.count) {
		struct store_partition *partition = committer_touch(
			committer, &submit->topic->partitions[submit->records[at].partition]);
		size_t size;
		int r;

		run.count = run_length(submit, at, &size);
		run.partition = partition->number;
		run.offset = partition->next_end;
		if (size >= DIRECT_BYTES) {
			r = open_chunk_flush(committer, txn, partition);
			if (!r)
				r = chunk_put(committer, txn, partition, partition->next_end,
					      run.count, submit->records[at].data, size);
			partition->next_end += run.count;
		} else {
			r = open_chunk_add(committer, txn, partition, submit->records[at].data,
					   size, run.count);
		}
		if (r < 0)
			return r;
		submit_add_run(submit, &run);
	}
	return 0;
}

static int rows_write(struct committer *committer, MDB_txn *txn)
{
	for (struct store_partition *partition = committer->touched; partition;
	     partition = partition->touched_next) {
		uint8_t bytes[STORE_KEY_SIZE], row[24];
		MDB_val key = {12, bytes}, value = {sizeof row, row};
		int r = open_chunk_flush(committer, txn, partition);

		if (r < 0)
			return r;
		if (partition->topic->gone)
			continue;
		store_key(bytes, partition->topic->id, partition->number, 0);
		le64_put(row, partition->next_first);
		le64_put(row + 8, partition->next_end);
		le64_put(row + 16, partition->next_bytes);
		r = mdb_put(txn, committer->store->partitions, &key, &value, 0);
		if (r)
			return store_errno(r);
	}
	return 0;
}

static void watches_post(struct adapter_topic *topic)
{
	pthread_mutex_lock(&topic->watch_lock);
	LIST_FOREACH(node, next, &topic->watches)
	{
		struct log_watch *watch = LIST_ENTRY(node, struct log_watch, node);

		if (!__atomic_exchange_n(&watch->posted, true, __ATOMIC_ACQ_REL))
			loop_post(watch->loop, &watch->task);
	}
	pthread_mutex_unlock(&topic->watch_lock);
}

// After a commit: what readers may see. After a failure: everything as before.
static void touched_end(struct committer *committer, bool committed)
{
	struct store_partition *next;

	for (struct store_partition *partition = committer->touched; partition; partition = next) {
		bool appended = partition->next_end != partition->end;

		next = partition->touched_next;
		partition->touched = false;
		open_chunk_drop(committer, partition);
		if (!committed)
			continue;
		__atomic_store_n(&partition->first, partition->next_first, __ATOMIC_RELEASE);
		__atomic_store_n(&partition->bytes, partition->next_bytes, __ATOMIC_RELEASE);
		__atomic_store_n(&partition->end, partition->next_end, __ATOMIC_RELEASE);
		if (appended)
			watches_post(partition->topic);
	}
	committer->touched = NULL;
}

// ---- deleting from the front

static bool chunk_may_go(const struct store_partition *partition, const struct store_chunk *chunk,
			 uint64_t offset, uint64_t until, int64_t before_ms, uint64_t keep_bytes)
{
	if (partition->next_bytes > keep_bytes)
		return true;
	return offset + le64_get(&chunk->count) <= until &&
	       (int64_t)le64_get(&chunk->stored_ms) < before_ms;
}

int committer_trim(struct committer *committer, MDB_txn *txn, struct store_partition *partition,
		   uint64_t until, int64_t before_ms, uint64_t keep_bytes, unsigned max)
{
	uint8_t bytes[STORE_KEY_SIZE];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	unsigned gone = 0;
	int r = mdb_cursor_open(txn, committer->store->chunks, &cursor);

	if (r)
		return store_errno(r);
	store_key(bytes, partition->topic->id, partition->number, 0);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!r && gone < max && key.mv_size == STORE_KEY_SIZE &&
	       store_key_id(key.mv_data) == partition->topic->id &&
	       store_key_partition(key.mv_data) == partition->number) {
		const struct store_chunk *chunk = value.mv_data;
		uint64_t offset = store_key_offset(key.mv_data);

		if (!chunk_may_go(partition, chunk, offset, until, before_ms, keep_bytes))
			break;
		committer_touch(committer, partition);
		partition->next_first = offset + le64_get(&chunk->count);
		partition->next_bytes -= MIN(partition->next_bytes, (uint64_t)value.mv_size);
		r = mdb_cursor_del(cursor, 0);
		++gone;
		if (!r)
			r = mdb_cursor_get(
				cursor, &key, &value,
				MDB_NEXT); // after a deletion: the one that took its place
	}
	mdb_cursor_close(cursor);
	return r && r != MDB_NOTFOUND ? store_errno(r) : (int)gone;
}

// ---- transactions

static uint64_t map_free(const struct store *store)
{
	MDB_envinfo info;
	MDB_stat stat;
	uint64_t used;

	mdb_env_info(store->env, &info);
	mdb_env_stat(store->env, &stat);
	used = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
	return used >= info.me_mapsize ? 0 : info.me_mapsize - used;
}

// Pages that deletions have freed; counted only when the map has no room left behind its last page.
static uint64_t pages_free(const struct store *store)
{
	MDB_cursor *cursor;
	MDB_txn *txn;
	MDB_val key, value;
	MDB_stat stat;
	uint64_t pages = 0;

	if (mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn))
		return 0;
	mdb_env_stat(store->env, &stat);
	if (mdb_cursor_open(txn, 0, &cursor) == 0) {
		while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0)
			pages += *(const size_t *)value.mv_data;
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return pages * stat.ms_psize;
}

static void health_set(struct committer *committer, enum store_health health)
{
	enum store_health before = committer_health(committer);

	__atomic_store_n(&committer->health, health, __ATOMIC_RELAXED);
	if (before != health && health == STORE_FULL)
		log_error(NULL, "STORE-FULL",
			  "%s: less than %llu MiB are free; appending stops until messages go",
			  committer->store->path, STORE_RESERVE >> 20);
	else if (before != health && health == STORE_OK)
		log_info(NULL, "STORE-OK", "%s: appending goes on", committer->store->path);
}

static bool space_is_short(struct committer *committer, uint64_t now_ns)
{
	struct statvfs disk;
	uint64_t reserve = MIN(STORE_RESERVE, committer->store->map_bytes / 4);

	if (now_ns - committer->space_checked_ns < SPACE_CHECK_NS && committer->space_checked_ns)
		return committer->full;
	committer->space_checked_ns = now_ns;
	committer->full =
		map_free(committer->store) < reserve && pages_free(committer->store) < reserve;
	if (!committer->full && statvfs(committer->store->path, &disk) == 0)
		committer->full = (uint64_t)disk.f_bavail * disk.f_frsize < reserve &&
				  pages_free(committer->store) < reserve;
	if (committer_health(committer) != STORE_FAILING)
		health_set(committer, committer->full ? STORE_FULL : STORE_OK);
	return committer->full;
}

static void submits_fail(struct submit *submits, enum outcome outcome, enum code code)
{
	while (submits) {
		struct submit *next = submits->next;

		submit_finish(submits, outcome, code, RETRY_AFTER_MS);
		submits = next;
	}
}

static void submits_finish(struct submit *submits)
{
	while (submits) {
		struct submit *next = submits->next;

		submits->done(submits);
		submits = next;
	}
}

// Answers the submits of topics that were deleted underneath, and unlinks them.
static void submits_gone(struct submit **submits)
{
	while (*submits) {
		struct submit *submit = *submits;

		if (__atomic_load_n(&submit->topic->gone, __ATOMIC_RELAXED)) {
			*submits = submit->next;
			submit_finish(submit, OUTCOME_REJECTED, CODE_NOT_FOUND, 0);
		} else {
			submits = &submit->next;
		}
	}
}

// One transaction. *ret_tried: the commit itself was tried.
static int transaction(struct committer *committer, struct submit *submits,
		       struct committer_job *jobs, bool *ret_tried)
{
	MDB_txn *txn;
	int r = store_errno(mdb_txn_begin(committer->store->env, NULL, 0, &txn));

	*ret_tried = false;
	if (r < 0)
		return r;
	committer->stored_ms = clock_wall_ms();
	for (struct submit *submit = submits; r >= 0 && submit; submit = submit->next)
		r = append(committer, txn, submit);
	for (struct committer_job *job = jobs; r >= 0 && job; job = job->next)
		r = job->result = job->apply(job, committer, txn);
	if (r >= 0)
		r = rows_write(committer, txn);
	if (r < 0) {
		mdb_txn_abort(txn);
	} else {
		*ret_tried = true;
		r = store_errno(mdb_txn_commit(txn));
	}
	touched_end(committer, r == 0);
	return r;
}

static void jobs_finish(struct committer *committer, struct committer_job *jobs)
{
	while (jobs) {
		struct committer_job *next = jobs->next;

		if (jobs->result == COMMITTER_AGAIN)
			committer_run(committer, jobs);
		else
			jobs->done(jobs, 0);
		jobs = next;
	}
}

static void submits_refuse(struct committer *committer, struct submit *submits, int r, bool tried)
{
	if (!submits)
		return;
	log_error(NULL, "STORE-WRITE", "%s: %s", committer->store->path, strerror(-r));
	if (tried && r != -ENOSPC)
		submits_fail(submits, OUTCOME_UNKNOWN, CODE_BACKEND_ERROR);
	else if (r == -ENOSPC)
		submits_fail(submits, tried ? OUTCOME_UNKNOWN : OUTCOME_REJECTED,
			     CODE_BACKEND_FULL);
	else
		submits_fail(submits, OUTCOME_REJECTED,
			     r == -ENOMEM ? CODE_OVERLOADED : CODE_BACKEND_ERROR);
}

static void round_run(struct committer *committer, struct submit *submits,
		      struct committer_job *jobs)
{
	bool tried;
	int r;

	if (submits && space_is_short(committer, clock_now_ns())) {
		submits_fail(submits, OUTCOME_REJECTED, CODE_BACKEND_FULL);
		submits = NULL;
	}
	submits_gone(&submits);
	if (!submits && !jobs)
		return;
	r = transaction(committer, submits, jobs, &tried);
	if (r == 0) {
		submits_finish(submits);
		jobs_finish(committer, jobs);
		return;
	}
	if (tried)
		health_set(committer, STORE_FAILING);
	submits_refuse(committer, submits, r, tried);
	if (jobs && !jobs->next && !submits) {
		jobs->done(jobs, r);
		return;
	}
	while (jobs) {
		struct committer_job *next = jobs->next;

		jobs->next = NULL;
		round_run(committer, NULL, jobs);
		jobs = next;
	}
}

// ---- the thread

static uint64_t submit_bytes(const struct submit *submit)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < submit->count; ++i)
		bytes += submit->records[i].size;
	return bytes;
}

// Takes submits up to BATCH_BYTES (one at least); the rest stays queued. Called with the lock held.
static struct submit *submits_take(struct committer *committer)
{
	struct submit *first = committer->submits, *last = NULL;
	uint64_t bytes = 0;

	while (committer->submits && bytes < BATCH_BYTES) {
		last = committer->submits;
		committer->submits = last->next;
		bytes += submit_bytes(last);
	}
	if (last)
		last->next = NULL;
	if (!committer->submits)
		committer->submits_end = &committer->submits;
	return first;
}

static void *committer_thread(void *ctx)
{
	struct committer *committer = ctx;

	pthread_mutex_lock(&committer->lock);
	for (;;) {
		struct committer_job *jobs;
		struct submit *submits;

		while (!committer->submits && !committer->jobs && !committer->stopping)
			pthread_cond_wait(&committer->wake, &committer->lock);
		if (!committer->submits && !committer->jobs)
			break;
		submits = submits_take(committer);
		jobs = committer->jobs;
		committer->jobs = NULL;
		committer->jobs_end = &committer->jobs;
		pthread_mutex_unlock(&committer->lock);
		round_run(committer, submits, jobs);
		pthread_mutex_lock(&committer->lock);
	}
	pthread_mutex_unlock(&committer->lock);
	return NULL;
}

int committer_start(struct store *store, struct committer **ret)
{
	struct committer *committer = calloc(1, sizeof *committer);
	int r;

	if (!committer)
		return -ENOMEM;
	committer->store = store;
	committer->submits_end = &committer->submits;
	committer->jobs_end = &committer->jobs;
	pthread_mutex_init(&committer->lock, NULL);
	pthread_cond_init(&committer->wake, NULL);
	r = pthread_create(&committer->thread, NULL, committer_thread, committer);
	if (r) {
		free(committer);
		return -r;
	}
	pthread_setname_np(committer->thread,
			   store->durability == DURABILITY_D1 ? "store-d1" : "store-d2");
	*ret = committer;
	return 0;
}

void committer_stop(struct committer *committer)
{
	if (!committer)
		return;
	pthread_mutex_lock(&committer->lock);
	committer->stopping = true;
	pthread_cond_signal(&committer->wake);
	pthread_mutex_unlock(&committer->lock);
	pthread_join(committer->thread, NULL);
	pthread_mutex_destroy(&committer->lock);
	pthread_cond_destroy(&committer->wake);
	free(committer->spare);
	free(committer);
}

void committer_submit(struct committer *committer, struct submit *submit)
{
	submit->next = NULL;
	pthread_mutex_lock(&committer->lock);
	*committer->submits_end = submit;
	committer->submits_end = &submit->next;
	pthread_cond_signal(&committer->wake);
	pthread_mutex_unlock(&committer->lock);
}

void committer_run(struct committer *committer, struct committer_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&committer->lock);
	*committer->jobs_end = job;
	committer->jobs_end = &job->next;
	pthread_cond_signal(&committer->wake);
	pthread_mutex_unlock(&committer->lock);
}
