// The one thread that writes to a store.
//
// It takes everything that waits and makes it one transaction; while that is committed, the next
// one gathers. So its thread has a loop of its own. An executor runs tasks one by one, and would
// begin and sync a transaction for each. Which work must run alone is known only after the common
// transaction has failed.
//
// A job fails alone. What can be known before writing (its group is deleted, the store is full) is
// its `check`, which only reads: it refuses the job and nothing else. When a job fails after it has
// written, the transaction is undone and the rest is tried again without it, so that neither the
// submits nor the other jobs of the round notice; the job itself then has a transaction of its own.
// After a second such job every job has one of its own. So a round with any number of bad jobs
// costs three more transactions, not one for each job and submit. A submit fails alone in the same
// way when its own partition is damaged.
//
// If the store itself fails (a write, a sync, no space), nothing of the round is stored: its
// submits are answered and its jobs are tried again, each alone. REJECTED is certain: LMDB writes
// its meta page last, and only a failure of that write leaves open what the disk holds. The
// environment then refuses every transaction, which shows this case: UNKNOWN.
//
// Space: appending stops while less than STORE_RESERVE is free in the map or on the disk; deleting
// and cursors go on.
//
// Invariant: each submit and job is answered once, after the commit that holds it or after its
// failure. Not here: what a job writes, and how records become chunks (append.c).

#include "adapters/store/committer.h"

#include "adapters/store/head.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/loop/thread.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>

#define BATCH_BYTES     (16u << 20) // appended in one transaction at most
#define SPACE_CHECK_NS  (100 * MS_NS)
#define PLENTY_RESERVES 16u // times the reserve: looked at less often while this is free
#define RETRY_AFTER_MS  1000u

struct committer {
	struct store *store;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake, idle;
	bool stopping, working;
	struct submit *submits, **submits_end; // under the lock
	struct committer_job *jobs, **jobs_end;

	// The thread's own.
	struct append append;
	uint64_t space_until_ns; // `full` is not looked at again before
	bool full;
	enum store_health health; // atomic
};

struct store *committer_store(const struct committer *committer)
{
	return committer->store;
}

struct append *committer_append(struct committer *committer)
{
	return &committer->append;
}

enum store_health committer_health(const struct committer *committer)
{
	return __atomic_load_n(&committer->health, __ATOMIC_RELAXED);
}

// ---- space

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
			  "%s: the map or the disk is full; appending stops until messages go",
			  committer->store->path);
	else if (before != health && health == STORE_FAILING)
		log_error(NULL, "STORE-FAILING", "%s: it cannot be written",
			  committer->store->path);
	else if (before != health && health == STORE_OK)
		log_info(NULL, "STORE-OK", "%s: appending goes on", committer->store->path);
}

// What the process may still write into the file: a write that goes beyond is cut short, which LMDB
// answers like a failing disk.
static uint64_t limit_left(const struct store *store)
{
	uint64_t used = store->map_bytes - map_free(store);
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}

// What can still be written, in the map and on the disk.
static uint64_t space_left(const struct store *store)
{
	uint64_t left = MIN(map_free(store), limit_left(store));
	struct statvfs disk;

	if (statvfs(store->path, &disk) == 0)
		left = MIN(left, (uint64_t)disk.f_bavail * disk.f_frsize);
	return left;
}

void committer_space(const struct committer *committer, uint64_t *ret_used, uint64_t *ret_left)
{
	const struct store *store = committer->store;
	uint64_t unused = map_free(store);

	*ret_used = store->map_bytes > unused ? store->map_bytes - unused : 0;
	*ret_left = space_left(store);
}

static uint64_t reserve_of(const struct store *store)
{
	return MIN(STORE_RESERVE, store->map_bytes / 4);
}

bool committer_is_full(struct committer *committer)
{
	uint64_t reserve = reserve_of(committer->store), left, now_ns = clock_now_ns();

	if (now_ns < committer->space_until_ns)
		return committer->full;
	left = space_left(committer->store);
	if (left < reserve)
		left += pages_free(committer->store);
	committer->full = left < reserve;
	// Looked at in every transaction when it could become short before the next look.
	committer->space_until_ns = left > PLENTY_RESERVES * reserve ? now_ns + SPACE_CHECK_NS : 0;
	if (committer->full)
		health_set(committer, STORE_FULL);
	return committer->full;
}

// ---- submits

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

static enum code submit_problem(const struct submit *submit)
{
	uint32_t partitions = store_topic_partition_count(submit->topic);

	if (store_topic_gone(submit->topic))
		return CODE_NOT_FOUND;
	for (uint32_t i = 0; i < submit->count; ++i)
		if (submit->records[i].partition >= partitions)
			return CODE_NOT_READY; // the topic is growing
	return CODE_OK;
}

// Answers the submits that cannot be stored, and unlinks them.
static void submits_check(struct submit **submits)
{
	while (*submits) {
		struct submit *submit = *submits;
		enum code code = submit_problem(submit);

		if (code == CODE_OK) {
			submits = &submit->next;
			continue;
		}
		*submits = submit->next;
		submit_finish(submit, OUTCOME_REJECTED, code, 0);
	}
}

// ---- transactions

// What ended a transaction.
struct culprit {
	struct submit *submit; // could not be applied; NULL: not a submit
	struct committer_job *job;
	bool tried; // the commit itself was tried
};

static int job_apply(struct committer *committer, struct committer_job *job, MDB_txn *txn)
{
	int r = job->check ? job->check(job, committer, txn) : 0;

	assert(r <= 0);
	job->result = r;
	if (r < 0)
		return 0; // refused; nothing was written
	r = job->apply(job, committer, txn);
	job->result = MAX(r, 0);
	return r;
}

static int round_apply(struct committer *committer, MDB_txn *txn, struct submit *submits,
		       struct committer_job *jobs, struct culprit *ret)
{
	struct append *append = &committer->append;
	int r = 0;

	append->now_ms = clock_wall_ms();
	for (struct submit *submit = submits; r >= 0 && submit; submit = submit->next) {
		r = append_submit(append, txn, submit);
		ret->submit = r < 0 ? submit : NULL;
	}
	for (struct committer_job *job = jobs; r >= 0 && job; job = job->next) {
		r = job_apply(committer, job, txn);
		ret->job = r < 0 ? job : NULL;
	}
	return r < 0 ? r : append_finish(append, txn);
}

// The new head is seen at once, before anything can happen to it.
static int txn_commit(struct store *store, MDB_txn *txn)
{
	uint64_t transaction = mdb_txn_id(txn);
	int r = store_error(mdb_txn_commit(txn));

	if (r == 0)
		head_check(store, transaction);
	return r;
}

// One transaction for all that is given, or none of it. On failure *ret says what caused it;
// append_end() is called in both cases, so that touched partitions are never left over.
static int run_transaction(struct committer *committer, struct submit *submits,
			   struct committer_job *jobs, struct culprit *ret)
{
	MDB_txn *txn;
	int r = store_write_begin(committer->store, &txn);

	*ret = (struct culprit){0};
	if (r < 0)
		return r;
	r = round_apply(committer, txn, submits, jobs, ret);
	ret->tried = r >= 0;
	if (r < 0)
		mdb_txn_abort(txn);
	else
		r = txn_commit(committer->store, txn);
	append_end(&committer->append, r == 0);
	return r;
}

// After a failed commit: whether what it wrote is certainly not there.
static bool is_certain(struct committer *committer)
{
	MDB_txn *txn;

	if (store_write_begin(committer->store, &txn))
		return false;
	mdb_txn_abort(txn);
	return true;
}

static void jobs_finish(struct committer *committer, struct committer_job *jobs)
{
	while (jobs) {
		struct committer_job *next = jobs->next;

		if (jobs->result == COMMITTER_AGAIN)
			committer_run(committer, jobs);
		else
			jobs->done(jobs, jobs->result);
		jobs = next;
	}
}

static bool is_full(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -EFBIG; // EFBIG: a limit on the size of files
}

static enum code write_code(int r)
{
	return is_full(r) ? CODE_BACKEND_FULL : r == -ENOMEM ? CODE_OVERLOADED : CODE_BACKEND_DOWN;
}

static void submits_refuse(struct committer *committer, struct submit *submits, int r, bool tried)
{
	bool certain = !tried || is_certain(committer);

	// A write that is cut short: LMDB does not say that there was no room.
	if (r == -EIO && space_left(committer->store) < reserve_of(committer->store))
		r = -ENOSPC;
	log_error(NULL, "STORE-WRITE", "%s: %s", committer->store->path, strerror(-r));
	health_set(committer, is_full(r) ? STORE_FULL : STORE_FAILING);
	submits_fail(submits, certain ? OUTCOME_REJECTED : OUTCOME_UNKNOWN, write_code(r));
}

// The work of one round that is not done yet.
struct round {
	struct submit *submits;
	struct committer_job *jobs;
	struct committer_job *apart, **apart_end; // each has a transaction of its own, in order
};

static void job_set_apart(struct round *round, struct committer_job *job)
{
	struct committer_job **at = &round->jobs;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	job->next = NULL;
	*round->apart_end = job;
	round->apart_end = &job->next;
}

static void jobs_set_apart(struct round *round)
{
	while (round->jobs)
		job_set_apart(round, round->jobs);
}

static void submit_refuse(struct round *round, struct submit *submit, enum code code)
{
	struct submit **at = &round->submits;

	while (*at != submit)
		at = &(*at)->next;
	*at = submit->next;
	submit_finish(submit, OUTCOME_REJECTED, code, RETRY_AFTER_MS);
}

// Takes out of the round what made its transaction fail. false: the store itself did.
static bool culprit_take(struct round *round, const struct culprit *culprit, int r)
{
	if (culprit->job && round->apart)
		jobs_set_apart(round);
	else if (culprit->job)
		job_set_apart(round, culprit->job);
	else if (culprit->submit && r == -EUCLEAN)
		submit_refuse(round, culprit->submit, CODE_BACKEND_ERROR);
	else
		return false;
	return true;
}

// Tries the round until a transaction succeeds or the store itself fails. Each failed try takes at
// least one job or submit out, so the loop ends.
static void round_commit(struct committer *committer, struct round *round)
{
	while (round->submits || round->jobs) {
		struct culprit culprit;
		int r = run_transaction(committer, round->submits, round->jobs, &culprit);

		if (r == 0) {
			if (round->submits && !committer->full)
				health_set(committer, STORE_OK);
			submits_finish(round->submits);
			jobs_finish(committer, round->jobs);
			break;
		}
		if (culprit_take(round, &culprit, r))
			continue;
		if (round->submits)
			submits_refuse(committer, round->submits, r, culprit.tried);
		jobs_set_apart(round);
		break;
	}
}

static void job_run_apart(struct committer *committer, struct committer_job *job)
{
	struct culprit culprit;
	int r;

	job->next = NULL;
	r = run_transaction(committer, NULL, job, &culprit);
	if (r == 0) {
		jobs_finish(committer, job);
		return;
	}
	if (r != -ENOENT && r != -EEXIST) // which are answers, no failures
		log_error(NULL, "STORE-WRITE", "%s: a change of a topic or group: %s",
			  committer->store->path, strerror(-r));
	job->done(job, r);
}

static void round_run(struct committer *committer, struct submit *submits,
		      struct committer_job *jobs)
{
	struct round round = {.submits = submits, .jobs = jobs};

	round.apart_end = &round.apart;
	submits_check(&round.submits);
	if (round.submits && committer_is_full(committer)) {
		submits_fail(round.submits, OUTCOME_REJECTED, CODE_BACKEND_FULL);
		round.submits = NULL;
	}
	round_commit(committer, &round);
	while (round.apart) {
		struct committer_job *job = round.apart;

		round.apart = job->next;
		job_run_apart(committer, job);
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

// `working` is set under the lock before the queues are emptied, so committer_flush() never sees an
// idle committer between the two. Jobs that wait at a stop are still run.
static void *committer_thread(void *ctx)
{
	struct committer *committer = ctx;

	pthread_mutex_lock(&committer->lock);
	for (;;) {
		struct committer_job *jobs;
		struct submit *submits;

		committer->working = false;
		pthread_cond_broadcast(&committer->idle);
		while (!committer->submits && !committer->jobs && !committer->stopping)
			pthread_cond_wait(&committer->wake, &committer->lock);
		if (!committer->submits && !committer->jobs)
			break;
		committer->working = true;
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

static void committer_free(struct committer *committer)
{
	pthread_mutex_destroy(&committer->lock);
	pthread_cond_destroy(&committer->wake);
	pthread_cond_destroy(&committer->idle);
	append_deinit(&committer->append);
	committer->store->writer = NULL;
	free(committer);
}

int committer_start(struct store *store, struct committer **ret)
{
	struct committer *committer = calloc(1, sizeof *committer);
	int r;

	if (!committer)
		return -ENOMEM;
	committer->store = store;
	store->writer = committer;
	committer->submits_end = &committer->submits;
	append_init(&committer->append, store);
	committer->jobs_end = &committer->jobs;
	pthread_mutex_init(&committer->lock, NULL);
	pthread_cond_init(&committer->wake, NULL);
	pthread_cond_init(&committer->idle, NULL);
	r = thread_start(store->durability == DURABILITY_D1 ? "store-d1" : "store-d2",
			 committer_thread, committer, &committer->thread);
	if (r < 0) {
		committer_free(committer);
		return r;
	}
	*ret = committer;
	return 0;
}

static bool is_busy(const struct committer *committer)
{
	return committer->submits || committer->jobs || committer->working;
}

// Waits until nothing is queued or in work. True: it was idle already. Two committers that give
// work to each other are flushed until both were.
bool committer_flush(struct committer *committer)
{
	bool was_idle;

	pthread_mutex_lock(&committer->lock);
	was_idle = !is_busy(committer);
	while (is_busy(committer))
		pthread_cond_wait(&committer->idle, &committer->lock);
	pthread_mutex_unlock(&committer->lock);
	return was_idle;
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
	committer_free(committer);
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
	assert(job->apply && job->done);
	job->next = NULL;
	pthread_mutex_lock(&committer->lock);
	*committer->jobs_end = job;
	committer->jobs_end = &job->next;
	pthread_cond_signal(&committer->wake);
	pthread_mutex_unlock(&committer->lock);
}
