// Groups: a row for the group and a cursor a partition (position and commit metadata), in the store
// of the group's topic.

#include "adapters/embedded/embedded.h"
#include "adapters/log/window.h"
#include "core/base/clock.h"

#include <errno.h>

#define CURSOR_HEAD 8u // the position; the text follows

struct group_row {
	uint64_t incarnation;
	uint64_t topic;
};

static MDB_val group_key(uint8_t bytes[STORE_KEY_SIZE], uint64_t id)
{
	store_key(bytes, id, 0, 0);
	return (MDB_val){8, bytes};
}

static MDB_val cursor_key(uint8_t bytes[STORE_KEY_SIZE], uint64_t id, uint32_t partition)
{
	store_key(bytes, id, partition, 0);
	return (MDB_val){12, bytes};
}

// 0: there and of this incarnation; -ENOENT: not.
static int group_check(struct store *store, MDB_txn *txn, const struct group *group)
{
	uint8_t bytes[STORE_KEY_SIZE];
	MDB_val key = group_key(bytes, group->object.id), value;
	int r = mdb_get(txn, store->groups, &key, &value);

	if (r)
		return store_errno(r);
	return value.mv_size == sizeof(struct group_row) &&
			       le64_get(value.mv_data) == group->incarnation
		       ? 0
		       : -ENOENT;
}

static int cursor_put(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
		      uint64_t position, const char *text)
{
	uint8_t bytes[STORE_KEY_SIZE];
	size_t size = strlen(text);
	MDB_val key = cursor_key(bytes, group, partition), value = {CURSOR_HEAD + size, NULL};
	int r = mdb_put(txn, store->cursors, &key, &value, MDB_RESERVE);

	if (r)
		return store_errno(r);
	le64_put(value.mv_data, position);
	memcpy((char *)value.mv_data + CURSOR_HEAD, text, size);
	return 0;
}

// A partition without a cursor (the topic has grown since) begins at its first message.
static int cursor_get(struct store *store, MDB_txn *txn, uint64_t group, uint32_t partition,
		      struct log_cursor *ret)
{
	uint8_t bytes[STORE_KEY_SIZE];
	MDB_val key = cursor_key(bytes, group, partition), value;
	int r = mdb_get(txn, store->cursors, &key, &value);

	*ret = (struct log_cursor){.partition = partition};
	if (r == MDB_NOTFOUND)
		ret->text = strdup("");
	else if (r || value.mv_size < CURSOR_HEAD)
		return r ? store_errno(r) : -EUCLEAN;
	else {
		ret->position = le64_get(value.mv_data);
		ret->text = strndup((const char *)value.mv_data + CURSOR_HEAD,
				    value.mv_size - CURSOR_HEAD);
	}
	return ret->text ? 0 : -ENOMEM;
}

// ---- what a source asks

static void load_run(struct log_job *job)
{
	struct log_cursors *load = CONTAINER_OF(job, struct log_cursors, job);
	struct store *store = load->topic->store;
	MDB_txn *txn;
	int r = store_read_begin(store, &txn);

	for (uint32_t i = 0; i < load->count; ++i)
		load->cursors[i].text = NULL;
	if (!r) {
		r = group_check(store, txn, load->group);
		for (uint32_t i = 0; !r && i < load->count; ++i)
			r = cursor_get(store, txn, load->group->object.id, i, &load->cursors[i]);
		mdb_txn_abort(txn);
	}
	load->code = embedded_code(r);
	loop_post(load->loop, &load->task);
}

void embedded_cursors_load(struct adapter *adapter, struct log_cursors *load)
{
	load->job.run = load_run;
	reader_run(adapter->reader, &load->job);
}

struct commit_job {
	struct committer_job job;
	struct log_cursors *commit;
};

static int commit_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	const struct log_cursors *commit = CONTAINER_OF(base, struct commit_job, job)->commit;
	struct store *store = committer_store(committer);
	int r = group_check(store, txn, commit->group);

	for (uint32_t i = 0; !r && i < commit->count; ++i)
		r = cursor_put(store, txn, commit->group->object.id, commit->cursors[i].partition,
			       commit->cursors[i].position, commit->cursors[i].text);
	return r;
}

static void commit_done(struct committer_job *base, int r)
{
	struct commit_job *job = CONTAINER_OF(base, struct commit_job, job);
	struct log_cursors *commit = job->commit;

	free(job);
	commit->code = embedded_code(r);
	loop_post(commit->loop, &commit->task);
}

void embedded_cursors_commit(struct adapter *adapter, struct log_cursors *commit)
{
	struct commit_job *job = calloc(1, sizeof *job);

	if (!job) {
		commit->code = CODE_OVERLOADED;
		loop_post(commit->loop, &commit->task);
		return;
	}
	job->commit = commit;
	job->job.apply = commit_apply;
	job->job.done = commit_done;
	committer_run(committer_of(adapter, commit->topic->store), &job->job);
}

// ---- administration

// Where a group is to stand in one partition.
struct target {
	enum { TARGET_EARLIEST, TARGET_LATEST, TARGET_TIME, TARGET_POSITIONS } at;
	int64_t time_ms;
	const json_t *positions;
};

struct group_job {
	struct committer_job job;
	struct log_job read;
	struct adapter *adapter;
	const struct group *group;
	const struct topic *topic;
	struct adapter_topic *open;
	struct target target;
	json_t *to; // owns target.positions
	json_t *moved;
	bool preview;
	adapter_done_fn done;
	adapter_json_fn json_done;
	void *ctx;
};

static void job_free(struct group_job *job)
{
	if (job->open)
		store_topic_close(job->open);
	model_unref(job->group);
	model_unref(job->topic);
	json_decref(job->to);
	json_decref(job->moved);
	free(job);
}

static void job_end(struct group_job *job, int r, json_t *answer, const char *text)
{
	if (job->done)
		job->done(job->ctx, embedded_code(r), text);
	else
		job->json_done(job->ctx, embedded_code(r), answer, text);
	job_free(job);
}

static struct group_job *job_new(struct adapter *adapter, const struct group *group,
				 const struct topic *topic, void *ctx, int *ret_r)
{
	struct group_job *job = calloc(1, sizeof *job);

	*ret_r = job ? 0 : -ENOMEM;
	if (!job)
		return NULL;
	job->adapter = adapter;
	job->group = model_ref(group);
	job->topic = model_ref(topic);
	job->ctx = ctx;
	job->open = store_topic_open(adapter->stores[class_of(topic)], topic->object.id,
				     topic->incarnation, ret_r);
	return job;
}

static int positions_find(const json_t *positions, uint32_t partition, uint64_t *ret)
{
	const json_t *position;
	size_t i;

	json_array_foreach(positions, i, position)
	{
		if (json_integer_value(json_object_get(position, "partition")) ==
		    (json_int_t)partition) {
			*ret = (uint64_t)MAX(
				json_integer_value(json_object_get(position, "offset")), 0);
			return 1;
		}
	}
	return 0;
}

// Positive 1: this partition has a target; 0: it stays.
static int target_resolve(const struct target *target, struct store *store, MDB_txn *txn,
			  const struct store_partition *partition, uint64_t *ret)
{
	uint64_t first = partition->touched ? partition->next_first : partition->first,
		 end = partition->touched ? partition->next_end : partition->end;
	int r = 1;

	switch (target->at) {
	case TARGET_EARLIEST: *ret = first; break;
	case TARGET_LATEST: *ret = end; break;
	case TARGET_TIME:
		r = reader_find_time(store, txn, partition->topic->id, partition->number, first,
				     end, target->time_ms, ret);
		r = r < 0 ? r : 1;
		break;
	case TARGET_POSITIONS: r = positions_find(target->positions, partition->number, ret); break;
	}
	if (r == 1)
		*ret = MIN(MAX(*ret, first), end);
	return r;
}

static int create_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct group_job *job = CONTAINER_OF(base, struct group_job, job);
	struct store *store = committer_store(committer);
	struct group_row row = {job->group->incarnation, job->topic->object.id};
	uint8_t bytes[STORE_KEY_SIZE];
	MDB_val key = group_key(bytes, job->group->object.id), value = {sizeof row, &row};
	int r = group_check(store, txn, job->group);

	if (r != -ENOENT)
		return r;
	r = mdb_put(txn, store->groups, &key, &value, MDB_NOOVERWRITE);
	if (r == MDB_KEYEXIST)
		return -EEXIST;
	r = store_errno(r);
	for (uint32_t i = 0; r >= 0 && i < job->open->partition_count; ++i) {
		uint64_t position = 0;

		r = target_resolve(&job->target, store, txn, &job->open->partitions[i], &position);
		if (r >= 0)
			r = cursor_put(store, txn, job->group->object.id, i, position, "");
	}
	return r;
}

static void create_done(struct committer_job *base, int r)
{
	job_end(CONTAINER_OF(base, struct group_job, job), r, NULL,
		r == -EEXIST ? "it exists as another incarnation" : NULL);
}

void embedded_group_create(struct adapter *adapter, const struct group *group,
			   const struct topic *topic, adapter_done_fn done, void *ctx)
{
	int r;
	struct group_job *job = job_new(adapter, group, topic, ctx, &r);

	if (!job) {
		done(ctx, CODE_OVERLOADED, NULL);
		return;
	}
	job->done = done;
	if (!job->open) {
		job_end(job, r, NULL, "its topic is not there");
		return;
	}
	job->target.at = group->start == GROUP_START_LATEST ? TARGET_LATEST
			 : group->start == GROUP_START_TIME ? TARGET_TIME
							    : TARGET_EARLIEST;
	job->target.time_ms = group->start_ms;
	job->job.apply = create_apply;
	job->job.done = create_done;
	committer_run(adapter->committers[class_of(topic)], &job->job);
}

static int delete_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct group_job *job = CONTAINER_OF(base, struct group_job, job);
	struct store *store = committer_store(committer);
	uint8_t bytes[STORE_KEY_SIZE];
	MDB_val key = group_key(bytes, job->group->object.id), value;
	MDB_cursor *cursor;
	int r = group_check(store, txn, job->group);

	if (r)
		return r == -ENOENT ? 0 : r;
	r = mdb_del(txn, store->groups, &key, NULL);
	if (!r)
		r = mdb_cursor_open(txn, store->cursors, &cursor);
	if (r)
		return store_errno(r);
	key = cursor_key(bytes, job->group->object.id, 0);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!r && store_key_id(key.mv_data) == job->group->object.id) {
		r = mdb_cursor_del(cursor, 0);
		if (!r)
			r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_errno(r);
}

void embedded_group_delete(struct adapter *adapter, const struct group *group,
			   const struct topic *topic, adapter_done_fn done, void *ctx)
{
	int r;
	struct group_job *job = job_new(adapter, group, topic, ctx, &r);

	if (!job) {
		done(ctx, CODE_OVERLOADED, NULL);
		return;
	}
	job->done = done;
	job->job.apply = delete_apply;
	job->job.done = create_done;
	committer_run(adapter->committers[class_of(topic)], &job->job);
}

// ---- reset

static int target_read(const json_t *to, struct target *target)
{
	const json_t *time_ms = json_object_get(to, "time_ms"),
		     *positions = json_object_get(to, "positions");

	if (json_is_true(json_object_get(to, "earliest")))
		target->at = TARGET_EARLIEST;
	else if (json_is_true(json_object_get(to, "latest")))
		target->at = TARGET_LATEST;
	else if (json_is_integer(time_ms))
		*target =
			(struct target){.at = TARGET_TIME, .time_ms = json_integer_value(time_ms)};
	else if (json_is_array(positions))
		*target = (struct target){.at = TARGET_POSITIONS, .positions = positions};
	else
		return -EINVAL;
	return 0;
}

// Messages between two positions that the group has not acknowledged.
static uint64_t open_between(const struct log_cursor *cursor, uint64_t to, uint64_t end)
{
	struct window window;
	uint64_t open = 0, epoch;

	window_init(&window, cursor->position, 0);
	if (window_decode(&window, cursor->text, &epoch) < 0)
		return to - cursor->position;
	for (uint64_t offset = cursor->position; offset < MIN(to, end); ++offset) {
		if (offset >= window_next(&window)) {
			open += MIN(to, end) - offset;
			break;
		}
		open += window.slots[(window.head + (uint32_t)(offset - window.base)) &
				     (window.room - 1)]
				.state != WINDOW_DONE;
	}
	window_deinit(&window);
	return open;
}

static int reset_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct group_job *job = CONTAINER_OF(base, struct group_job, job);
	struct store *store = committer_store(committer);
	int r = group_check(store, txn, job->group);

	json_decref(job->moved);
	job->moved = json_array();
	for (uint32_t i = 0; !r && i < job->open->partition_count; ++i) {
		const struct store_partition *partition = &job->open->partitions[i];
		struct log_cursor cursor = {0};
		uint64_t to;

		r = cursor_get(store, txn, job->group->object.id, i, &cursor);
		if (!r)
			r = target_resolve(&job->target, store, txn, partition, &to);
		if (r == 1) {
			uint64_t from = MAX(cursor.position, partition->first);

			r = job->preview ? 0
					 : cursor_put(store, txn, job->group->object.id, i, to, "");
			json_array_append_new(
				job->moved,
				json_pack("{s:I,s:I,s:I,s:I,s:I}", "partition", (json_int_t)i,
					  "from", (json_int_t)from, "to", (json_int_t)to, "skipped",
					  (json_int_t)(to > from ? open_between(&cursor, to,
										partition->end)
								 : 0),
					  "replayed", (json_int_t)(to < from ? from - to : 0)));
		}
		free(cursor.text);
	}
	return r;
}

static void reset_done(struct committer_job *base, int r)
{
	struct group_job *job = CONTAINER_OF(base, struct group_job, job);
	json_t *answer = r ? NULL : json_pack("{s:O}", "partitions", job->moved);

	job_end(job, r, answer, NULL);
}

void embedded_group_reset(struct adapter *adapter, const struct group *group,
			  const struct topic *topic, const json_t *to, bool preview,
			  adapter_json_fn done, void *ctx)
{
	int r;
	struct group_job *job = job_new(adapter, group, topic, ctx, &r);

	if (!job) {
		done(ctx, CODE_OVERLOADED, NULL, NULL);
		return;
	}
	job->json_done = done;
	job->preview = preview;
	job->to = json_deep_copy(to);
	if (!job->open || target_read(job->to, &job->target) < 0) {
		job_end(job, job->open ? -EINVAL : r, NULL,
			job->open ? "to: earliest, latest, time_ms or positions" : NULL);
		return;
	}
	job->job.apply = reset_apply;
	job->job.done = reset_done;
	committer_run(adapter->committers[class_of(topic)], &job->job);
}

// ---- backlog of a group whose source is not open

static json_t *partition_backlog(const struct log_cursor *cursor,
				 const struct store_partition *partition)
{
	uint64_t first = __atomic_load_n(&partition->first, __ATOMIC_ACQUIRE),
		 end = __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE), next, epoch;
	struct window window;
	json_t *json;

	window_init(&window, cursor->position, 0);
	if (window_decode(&window, cursor->text, &epoch) < 0)
		return NULL;
	window_truncate(&window, first);
	next = window_next(&window);
	json = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "partition",
			 (json_int_t)partition->number, "first", (json_int_t)first, "end",
			 (json_int_t)end, "committed", (json_int_t)window.base, "ready",
			 (json_int_t)((end > next ? end - next : 0) + window.untried), "in_flight",
			 (json_int_t)0, "retrying", (json_int_t)window.retrying, "delayed",
			 (json_int_t)window.delayed, "window_full", (int)window_full(&window));
	window_deinit(&window);
	return json;
}

static void backlog_run(struct log_job *read)
{
	struct group_job *job = CONTAINER_OF(read, struct group_job, read);
	struct store *store = job->open->store;
	json_t *partitions = json_array();
	MDB_txn *txn;
	int r = store_read_begin(store, &txn);

	if (!r) {
		r = group_check(store, txn, job->group);
		for (uint32_t i = 0; !r && i < job->open->partition_count; ++i) {
			struct log_cursor cursor;

			r = cursor_get(store, txn, job->group->object.id, i, &cursor);
			if (!r)
				json_array_append_new(
					partitions,
					partition_backlog(&cursor, &job->open->partitions[i]));
			free(cursor.text);
		}
		mdb_txn_abort(txn);
	}
	job_end(job, r, json_pack("{s:o,s:b}", "partitions", partitions, "at_most", 0), NULL);
}

void embedded_group_backlog(struct adapter *adapter, const struct group *group,
			    const struct topic *topic, adapter_json_fn done, void *ctx)
{
	int r;
	struct group_job *job = job_new(adapter, group, topic, ctx, &r);

	if (!job) {
		done(ctx, CODE_OVERLOADED, NULL, NULL);
		return;
	}
	job->json_done = done;
	if (!job->open) {
		job_end(job, r, NULL, NULL);
		return;
	}
	job->read.run = backlog_run;
	reader_run(adapter->reader, &job->read);
}
