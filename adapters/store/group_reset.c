// Moves a group: afterwards it has exactly the messages from the new position on. What its retry
// store holds before that position is skipped; what it holds behind is read from the log again.
//
// The cursors move in the first transaction; the rows of the retry store are deleted in steps
// behind it. A crash in between leaves some of these rows, and their messages are delivered once
// more.
//
// Invariants: the epoch of a group never falls, so that no receipt from before the reset fits a
// message after it. A damaged cursor no longer names its epoch, and gets the current time as one. A
// preview changes nothing.
//
// Not here: closing the source of the group first, which is the proxy's duty.

#include "adapters/store/group_reset.h"

#include "adapters/log/backlog_rows.h"
#include "adapters/log/window_text.h"
#include "adapters/store/cursor.h"
#include "adapters/store/damage.h"
#include "adapters/store/damage_table.h"
#include "adapters/store/group_job.h"
#include "adapters/store/group_row.h"
#include "adapters/store/retry.h"
#include "adapters/store/seek_resolve.h"
#include "core/base/clock.h"

#include <errno.h>

#define DELETE_ROWS 1000u // in one transaction

// The epoch stays, so that no receipt from before the reset is taken for one from after it. The
// rows of the retry store are still there and counted.
static int cursor_move(struct store *store, MDB_txn *txn, uint64_t group,
		       const struct log_cursor *cursor, const struct window *to, uint64_t epoch)
{
	struct log_cursor moved = *cursor;
	int r;

	moved.position = to->base;
	moved.text = window_text_encode(to, epoch, to->written_ms);
	r = moved.text ? cursor_put(store, txn, group, &moved) : -ENOMEM;
	free(moved.text);
	return r;
}

static int partition_move(struct group_job *job, struct store *store, MDB_txn *txn,
			  const struct store_partition *partition, struct log_cursor *cursor,
			  uint64_t to)
{
	uint64_t group = job->request.group->object.id, open, retries, epoch,
		 from = MAX(cursor->position, partition->now.first);
	struct window moved;
	int r = backlog_rows_open_before(cursor, partition->now.first, to, &open, &epoch);

	if (!r)
		r = store_retry_count(store, txn, group, partition->number, to, &retries);
	window_init(&moved, to);
	if (!r)
		r = backlog_rows_move(cursor, partition->now.first, open + retries, &moved);
	if (!r && !job->request.preview)
		r = cursor_move(store, txn, group, cursor, &moved, epoch);
	if (r)
		return r;
	moves_add(&job->moved, partition->number, from, to, open + retries);
	return 0;
}

// A damaged cursor says neither position nor epoch: every message counts as open, and the time is
// an epoch that was never used.
static int cursor_lose(const struct store_partition *partition, struct log_cursor *ret)
{
	struct window window;

	window_init(&window, partition->now.first);
	*ret = (struct log_cursor){
		.partition = partition->number,
		.position = partition->now.first,
		.text = window_text_encode(&window, (uint64_t)clock_wall_ms(), 0)};
	return ret->text ? 0 : -ENOMEM;
}

static int cursors_move(struct group_job *job, struct store *store, MDB_txn *txn)
{
	int r = moves_begin(&job->moved, job->open->partition_count);

	for (uint32_t i = 0; !r && i < job->open->partition_count; ++i) {
		const struct store_partition *partition = &job->open->partitions[i];
		struct log_cursor cursor = {0};
		uint64_t to;

		r = cursor_get(store, txn, job->request.group->object.id, i, &cursor);
		if (r == -EUCLEAN)
			r = cursor_lose(partition, &cursor);
		if (!r)
			r = store_seek_resolve(&job->to, store, txn, partition, &to);
		if (r == 1)
			r = partition_move(job, store, txn, partition, &cursor, to);
		free(cursor.text);
	}
	return r;
}

static int group_check(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct group_job *job = group_job_of(base);

	return group_row_check(committer_store(committer), job->request.group);
}

static int move_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct group_job *job = group_job_of(base);

	int r = cursors_move(job, committer_store(committer), txn);

	return r || job->request.preview
		       ? r
		       : damage_table_forget(committer_store(committer), txn,
					     job->request.topic->object.id,
					     job->request.group->object.id, DAMAGE_ANY);
}

static int counts_clear(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition)
{
	struct log_cursor cursor;
	int r = cursor_get(store, txn, group, partition, &cursor);

	cursor.retrying = cursor.delayed = 0;
	if (!r)
		r = cursor_put(store, txn, group, &cursor);
	free(cursor.text);
	return r;
}

static int drop_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct group_job *job = group_job_of(base);
	struct store *store = committer_store(committer);
	uint64_t group = job->request.group->object.id;

	for (size_t i = 0; i < job->moved.count; ++i) {
		uint32_t partition = job->moved.rows[i].partition;
		int r = store_retry_delete(store, txn, group, partition, DELETE_ROWS);

		if (r > 0)
			return COMMITTER_AGAIN;
		if (!r)
			r = counts_clear(store, txn, group, partition);
		if (r)
			return r;
	}
	return 0;
}

static void drop_done(struct committer_job *base, int r)
{
	struct group_job *job = group_job_of(base);
	struct adapter_answer answer = moves_answer(&job->moved);

	group_job_end(job, r, &answer, NULL);
}

static void move_done(struct committer_job *base, int r)
{
	struct group_job *job = group_job_of(base);

	if (r < 0 || job->request.preview) {
		drop_done(base, r);
		return;
	}
	group_job_run(job, drop_apply, drop_done);
}

void store_group_reset(struct durable_log *log, const struct group *group,
		       const struct topic *topic, const struct seek_target *to, bool preview,
		       adapter_answer_fn done, void *ctx)
{
	struct group_job *job = group_job_new(log, &(struct request){.group = group,
								     .topic = topic,
								     .preview = preview,
								     .answer_done = done,
								     .ctx = ctx});

	if (!job)
		return;
	if (!job->open) {
		group_job_end(job, -ENOENT, NULL, "its topic is not there");
		return;
	}
	if (seek_target_copy(to, &job->to) < 0) {
		group_job_end(job, -ENOMEM, NULL, NULL);
		return;
	}
	job->job.check = group_check;
	group_job_run(job, move_apply, move_done);
}
