// Making a group, deleting it, and its backlog while no source is open.
//
// A group is a row in the D2 store, and one cursor for each partition in the store of its topic.
// Where these are two stores, they cannot change in one transaction: cursors are written before the
// row, and deleted before it.
//
// Invariant: a group whose row exists has its cursors, or is being deleted; a crash in between
// leaves nothing that a second try does not finish.
//
// Not here: moving a group (group_reset.c), and what an open source asks (source_requests.c).

#include "adapters/store/group_admin.h"

#include "adapters/log/backlog_rows.h"
#include "adapters/store/cursor.h"
#include "adapters/store/damage.h"
#include "adapters/store/damage_table.h"
#include "adapters/store/group_job.h"
#include "adapters/store/group_row.h"
#include "adapters/store/identity.h"
#include "adapters/store/retry.h"
#include "adapters/store/row.h"
#include "adapters/store/seek_resolve.h"

#include <errno.h>

#define DELETE_ROWS 1000u // in one transaction

static void job_done(struct committer_job *base, int r)
{
	group_job_end(group_job_of(base), r, NULL,
		      r == -EEXIST ? "it exists as another incarnation" : NULL);
}

// Then on the committer of the rows; at once where it is the same.
static void job_run_row(struct group_job *job,
			int (*apply)(struct committer_job *, struct committer *, MDB_txn *))
{
	job->job.apply = apply;
	job->job.done = job_done;
	committer_run(job->log->committers[CLASS_D2], &job->job);
}

// ---- making

static int group_row_put(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct group_job *job = group_job_of(base);
	struct store_group_row row = {.incarnation = job->request.group->incarnation,
				      .topic = job->request.topic->object.id};
	struct store *store = committer_store(committer);
	const struct store_group_row *old;
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes}, value;
	int r;

	store_key(bytes, job->request.group->object.id, 0, 0);
	r = row_get(txn, store->groups, &key, sizeof row, &value);
	if (r == -ENOENT) {
		r = row_put(txn, store->groups, &key, &row, sizeof row);
		return r < 0 || row.topic == job->request.group->object.id // of a probe
			       ? r
			       : identity_see(store, txn, job->request.group->object.id);
	}
	old = value.mv_data;
	return r ? r : old->incarnation == row.incarnation ? 0 : -EEXIST;
}

static int cursors_make(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct group_job *job = group_job_of(base);
	struct store *store = committer_store(committer);
	struct seek_target target = seek_target_of_start(job->request.group);
	int r = group_row_check(store, job->request.group);

	job->was_there = r == 0;
	if (r != -ENOENT)
		return r;
	r = 0;
	for (uint32_t i = 0; r >= 0 && i < job->open->partition_count; ++i) {
		struct log_cursor cursor = {.text = (char *)(uintptr_t)"", .partition = i};

		r = store_seek_resolve(&target, store, txn, &job->open->partitions[i],
				       &cursor.position);
		if (r >= 0)
			r = cursor_put(store, txn, job->request.group->object.id, &cursor);
	}
	return r < 0 ? r : 0;
}

static void cursors_made(struct committer_job *base, int r)
{
	struct group_job *job = group_job_of(base);

	if (r < 0 || job->was_there)
		job_done(base, r);
	else
		job_run_row(job, group_row_put);
}

void store_group_admin_create(struct durable_log *log, const struct group *group,
			      const struct topic *topic, adapter_done_fn done, void *ctx)
{
	struct group_job *job = group_job_new(
		log, &(struct request){.group = group, .topic = topic, .done = done, .ctx = ctx});

	if (job && !job->open)
		group_job_end(job, -ENOENT, NULL, "its topic is not there");
	else if (job)
		group_job_run(job, cursors_make, cursors_made);
}

// ---- deleting

static int row_delete(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes};
	int r;

	store_key(bytes, group_job_of(base)->request.group->object.id, 0, 0);
	r = mdb_del(txn, committer_store(committer)->groups, &key, NULL);
	if (r && r != MDB_NOTFOUND)
		return store_error(r);
	return damage_table_forget(committer_store(committer), txn, 0,
				   group_job_of(base)->request.group->object.id, DAMAGE_ANY);
}

static int cursors_delete(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct group_job *job = group_job_of(base);
	struct store *store = committer_store(committer);
	uint64_t group = job->request.group->object.id;
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes}, value;
	MDB_cursor *cursor;
	int r = group_row_check(store, job->request.group);

	job->was_there = r == 0 || r == -EUCLEAN; // a damaged row can be deleted
	if (!job->was_there)
		return r == -ENOENT ? 0 : r;
	r = damage_table_forget(store, txn, job->request.topic->object.id, group, DAMAGE_ANY);
	if (r)
		return r;
	r = store_retry_delete(store, txn, group, UINT32_MAX, DELETE_ROWS);
	if (r)
		return r < 0 ? r : COMMITTER_AGAIN;
	r = mdb_cursor_open(txn, store->cursors, &cursor);
	if (r)
		return store_error(r);
	store_key(bytes, group, 0, 0);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!r && key.mv_size == STORE_PARTITION_KEY && store_key_id(key.mv_data) == group) {
		r = mdb_cursor_del(cursor, 0);
		if (!r)
			r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

static void cursors_deleted(struct committer_job *base, int r)
{
	struct group_job *job = group_job_of(base);

	if (r < 0 || !job->was_there)
		job_done(base, r);
	else
		job_run_row(job, row_delete);
}

void store_group_admin_delete(struct durable_log *log, const struct group *group,
			      const struct topic *topic, adapter_done_fn done, void *ctx)
{
	struct group_job *job = group_job_new(
		log, &(struct request){.group = group, .topic = topic, .done = done, .ctx = ctx});

	if (job)
		group_job_run(job, cursors_delete, cursors_deleted);
}

// ---- backlog of a group whose source is not open

static int backlog_read(struct group_job *job, struct source_partition *rows, uint32_t count)
{
	struct store *store = job->open->store;
	MDB_txn *txn;
	int r = group_row_check(store, job->request.group);

	if (!r)
		r = store_read_begin(store, &txn);
	if (r)
		return r;
	for (uint32_t i = 0; !r && i < count; ++i) {
		const struct store_partition *partition = store_topic_partition(job->open, i);
		struct log_cursor cursor;
		uint64_t first, end;

		r = cursor_get(store, txn, job->request.group->object.id, i, &cursor);
		first = __atomic_load_n(&partition->first, __ATOMIC_ACQUIRE);
		end = __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE);
		if (!r)
			r = backlog_row_read(&cursor, first, end, &rows[i]);
		free(cursor.text);
	}
	mdb_txn_abort(txn);
	return r;
}

static void run_backlog(struct loop_task *task)
{
	struct group_job *job = CONTAINER_OF(task, struct group_job, read);
	uint32_t count = store_topic_partition_count(job->open);
	struct source_partition *rows = calloc(count, sizeof *rows);
	int r = rows ? backlog_read(job, rows, count) : -ENOMEM;
	struct adapter_answer answer = {.kind = ANSWER_BACKLOG, .backlog = {rows, count}};

	group_job_end(job, r, &answer, NULL);
	free(rows);
}

void store_group_admin_backlog(struct durable_log *log, const struct group *group,
			       const struct topic *topic, adapter_answer_fn done, void *ctx)
{
	struct group_job *job = group_job_new(
		log,
		&(struct request){.group = group, .topic = topic, .answer_done = done, .ctx = ctx});

	if (!job)
		return;
	if (!job->open) {
		group_job_end(job, -ENOENT, NULL, "its topic is not there");
		return;
	}
	job->read.fn = run_backlog;
	executor_post(log->readers, &job->read);
}
