// What an open source asks of its group: its cursors, commits of them with the writes of the retry
// store, and the messages that are due there.
//
// Loading and reading due messages run on a reader's thread, each in one short transaction. A
// commit is one job of the committer: all cursors and rows of the request change together.
//
// Invariants: a cursor never passes a message that should wait in the retry store before its row is
// written; if there is no room for the row, the whole commit is refused. A cursor beyond the end of
// its partition is damage: the group would miss the messages that are sent next.
//
// Not here: which positions are acknowledged, and when to commit (adapters/log).

#include "adapters/store/source_requests.h"

#include "adapters/store/cursor.h"
#include "adapters/store/damage.h"
#include "adapters/store/durable_log.h"
#include "adapters/store/group_row.h"
#include "adapters/store/retry.h"
#include "adapters/store/row.h"

#include <errno.h>

#define GENERATION_EPOCHS 32 // epochs of one generation of a D1 store, as a power of two

// ---- loading

// A cursor beyond the end of its partition would pass over what is sent next.
static int cursor_load(struct store *store, MDB_txn *txn, struct log_cursors *load, uint32_t at)
{
	const struct store_partition *partition = store_topic_partition(load->topic, at);
	uint64_t end = partition ? __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE) : 0;
	struct log_cursor *cursor = &load->cursors[at];
	int r = cursor_get(store, txn, load->group->object.id, at, cursor);

	// A D1 store that was set aside and taken back lies before what begins now.
	if (!r && partition && cursor->position == store_first_offset(store) && !*cursor->text)
		cursor->position = MIN(cursor->position, end);
	if (!r && partition && cursor->position > end)
		r = -EUCLEAN;
	if (r == -EUCLEAN)
		damage_report(store, &(struct damage){.kind = DAMAGE_CURSOR,
						      .topic = load->topic->id,
						      .group = load->group->object.id,
						      .partition = at,
						      .first = MIN(cursor->position, end),
						      .end = end});
	return r;
}

static void run_load(struct loop_task *task)
{
	struct log_cursors *load = CONTAINER_OF(task, struct log_cursors, work);
	struct store *store = load->topic->store;
	MDB_txn *txn;
	int r = group_row_check(store, load->group);

	for (uint32_t i = 0; i < load->count; ++i)
		load->cursors[i].text = NULL;
	load->epoch = store->generation << GENERATION_EPOCHS;
	if (!r)
		r = store_read_begin(store, &txn);
	if (!r) {
		for (uint32_t i = 0; !r && i < load->count; ++i)
			r = cursor_load(store, txn, load, i);
		mdb_txn_abort(txn);
	}
	load->code = store_error_code(r);
	loop_post(load->loop, &load->task);
}

void store_source_requests_load(struct durable_log *log, struct log_cursors *load)
{
	load->work.fn = run_load;
	executor_post(log->readers, &load->work);
}

// ---- committing

struct commit_job {
	struct committer_job job;
	struct log_cursors *commit;
	bool has_puts;
};

static const struct log_cursor *cursor_of(const struct log_cursors *commit, uint32_t partition)
{
	for (uint32_t i = 0; i < commit->count; ++i)
		if (commit->cursors[i].partition == partition)
			return &commit->cursors[i];
	return NULL;
}

// As of the last commit; of a partition that is not there, no position is wrong.
static uint64_t end_of(const struct adapter_topic *topic, uint32_t number)
{
	const struct store_partition *partition = store_topic_partition(topic, number);

	return partition ? __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE) : UINT64_MAX;
}

// All writes of one partition, from retries[at] on, and its cursor.
static int partition_apply(struct store *store, MDB_txn *txn, const struct log_cursors *commit,
			   uint32_t partition, uint32_t at)
{
	const struct log_cursor *wanted = cursor_of(commit, partition);
	uint64_t group = commit->group->object.id;
	struct log_cursor cursor;
	int r = cursor_get(store, txn, group, partition, &cursor);

	for (; !r && at < commit->retry_count; ++at)
		if (commit->retries[at].partition == partition)
			r = store_retry_apply(store, txn, group, commit->topic->id,
					      &commit->retries[at], &cursor);
	if (!r) {
		struct log_cursor row = cursor;

		if (wanted) {
			assert(wanted->position <= end_of(commit->topic, partition));
			row.position = wanted->position;
			row.text = wanted->text;
		}
		r = cursor_put(store, txn, group, &row);
	}
	free(cursor.text);
	return r;
}

static bool was_seen(const struct log_cursors *commit, uint32_t at)
{
	for (uint32_t i = 0; i < at; ++i)
		if (commit->retries[i].partition == commit->retries[at].partition)
			return true;
	return false;
}

// The group is there, and there is room for what it puts into its retry store.
static int commit_check(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct commit_job *job = CONTAINER_OF(base, struct commit_job, job);
	int r = group_row_check(committer_store(committer), job->commit->group);

	return !r && job->has_puts && committer_is_full(committer) ? -ENOSPC : r;
}

// Each partition is applied once, with its cursor if the commit has one: the counts in the row must
// include all its writes.
static int commit_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct commit_job *job = CONTAINER_OF(base, struct commit_job, job);
	const struct log_cursors *commit = job->commit;
	struct store *store = committer_store(committer);
	int r = 0;

	for (uint32_t i = 0; !r && i < commit->count; ++i)
		r = partition_apply(store, txn, commit, commit->cursors[i].partition, 0);
	for (uint32_t i = 0; !r && i < commit->retry_count; ++i)
		if (!cursor_of(commit, commit->retries[i].partition) && !was_seen(commit, i))
			r = partition_apply(store, txn, commit, commit->retries[i].partition, i);
	return r;
}

static void commit_done(struct committer_job *base, int r)
{
	struct commit_job *job = CONTAINER_OF(base, struct commit_job, job);
	struct log_cursors *commit = job->commit;

	free(job);
	commit->code = store_error_code(r);
	loop_post(commit->loop, &commit->task);
}

void store_source_requests_commit(struct durable_log *log, struct log_cursors *commit)
{
	struct commit_job *job = calloc(1, sizeof *job);

	if (!job) {
		commit->code = CODE_OVERLOADED;
		loop_post(commit->loop, &commit->task);
		return;
	}
	job->commit = commit;
	for (uint32_t i = 0; i < commit->retry_count; ++i)
		job->has_puts = job->has_puts || commit->retries[i].put;
	job->job.check = commit_check;
	job->job.apply = commit_apply;
	job->job.done = commit_done;
	committer_run(durable_log_committer(log, commit->topic->store), &job->job);
}

// ---- what is due

struct gathered {
	struct log_waiting *entries; // records still in the mapped pages
	uint32_t count;
	size_t bytes;
};

// A row that is missing or damaged stays and is reported.
static void retry_damaged(struct store *store, const struct log_due *due, const uint8_t *due_key)
{
	uint64_t offset = store_key_due_offset(due_key);

	damage_report(store, &(struct damage){.kind = DAMAGE_RETRY,
					      .topic = due->topic->id,
					      .group = due->group->object.id,
					      .partition = store_key_due_partition(due_key),
					      .first = offset,
					      .end = MAX(offset, offset + 1)});
}

// One row. Positive: enough.
static int due_gather(struct store *store, MDB_txn *txn, const struct log_due *due,
		      const uint8_t *due_key, bool whole, struct gathered *gathered)
{
	const struct store_retry *row;
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value = {0};
	struct log_waiting *entry = &gathered->entries[gathered->count];
	size_t size;
	int r;

	store_key(bytes, due->group->object.id, store_key_due_partition(due_key),
		  store_key_due_offset(due_key));
	r = row_get(txn, store->retries, &key, sizeof *row, &value);
	row = value.mv_data;
	if (!whole || r == -ENOENT || r == -EUCLEAN ||
	    (!r && le64_get(&row->due_ms) != store_key_due_ms(due_key))) {
		retry_damaged(store, due, due_key);
		return 0; // it holds up no other
	}
	if (r)
		return r;
	size = value.mv_size - sizeof *row;
	if (gathered->count == due->max_messages ||
	    (gathered->count && gathered->bytes + size > due->max_bytes))
		return 1;
	*entry = (struct log_waiting){
		.entry = {.offset = store_key_offset(bytes),
			  .stored_ms = (int64_t)le64_get(&row->stored_ms),
			  .record = row->record,
			  .size = (uint32_t)size},
		.due_ms = store_key_due_ms(due_key),
		.partition = store_key_partition(bytes),
		.attempts = le32_get(&row->attempts),
	};
	++gathered->count;
	gathered->bytes += size;
	return 0;
}

static int due_walk(struct store *store, MDB_txn *txn, struct log_due *due,
		    struct gathered *gathered)
{
	uint64_t group = due->group->object.id;
	uint8_t bytes[STORE_DUE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, store->dues, &cursor);

	if (r)
		return store_error(r);
	store_key_due(bytes, group, due->after.due_ms, due->after.partition, due->after.offset);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (!r && due->after.due_ms && key.mv_size == sizeof bytes &&
	    memcmp(key.mv_data, bytes, sizeof bytes) == 0)
		r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT); // begin behind it
	r = store_error(r);
	while (!r && key.mv_size == sizeof bytes && store_key_id(key.mv_data) == group) {
		due->next_ms = store_key_due_ms(key.mv_data);
		if (due->next_ms > due->until_ms)
			break;
		r = due_gather(store, txn, due, key.mv_data,
			       row_is_whole(&key, &value, sizeof(struct store_due)), gathered);
		if (r)
			break;
		due->next_ms = UINT64_MAX;
		r = store_error(mdb_cursor_get(cursor, &key, &value, MDB_NEXT));
	}
	mdb_cursor_close(cursor);
	return r == -ENOENT || r > 0 ? 0 : r;
}

static int gathered_copy(struct log_due *due, const struct gathered *gathered)
{
	struct log_waiting *entries;
	uint8_t *at;
	int r = buf_new(gathered->bytes + gathered->count * sizeof *entries + 16, &due->buf);

	if (r < 0)
		return r;
	entries = (struct log_waiting *)(((uintptr_t)due->buf->data + 15) & ~(uintptr_t)15);
	at = (uint8_t *)(entries + gathered->count);
	for (uint32_t i = 0; i < gathered->count; ++i) {
		entries[i] = gathered->entries[i];
		memcpy(at, entries[i].entry.record, entries[i].entry.size);
		entries[i].entry.record = at;
		at += entries[i].entry.size;
	}
	due->entries = entries;
	due->count = gathered->count;
	return 0;
}

static void run_due(struct loop_task *task)
{
	struct log_due *due = CONTAINER_OF(task, struct log_due, work);
	struct store *store = due->topic->store;
	struct gathered gathered = {
		.entries = calloc(due->max_messages + 1, sizeof(struct log_waiting))};
	MDB_txn *txn;
	int r = gathered.entries ? store_read_begin(store, &txn) : -ENOMEM;

	due->next_ms = UINT64_MAX;
	if (!r) {
		r = due_walk(store, txn, due, &gathered);
		if (!r && gathered.count)
			r = gathered_copy(due, &gathered);
		mdb_txn_abort(txn);
	}
	free(gathered.entries);
	due->code = store_error_code(r);
	loop_post(due->loop, &due->task);
}

void store_source_requests_due(struct durable_log *log, struct log_due *due)
{
	due->work.fn = run_due;
	executor_post(log->readers, &due->work);
}
