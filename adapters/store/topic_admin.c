// Making, changing, deleting and purging a topic: each is a job of the committer, or two.
//
// The row of a topic is in the D2 store whatever its class. Where its messages are in the other one
// both cannot change together: the row is written before anything else and deleted after it, so a
// crash in between leaves a topic that can be deleted again, never messages without a topic.
//
// Messages are deleted in steps of TRIM_CHUNKS, so that no transaction is long and what is sent
// meanwhile waits for one step at most. Invariant: a topic that is being deleted is `gone` for
// sessions before its first message goes, and for good when its row has gone.
//
// Not here: looking at a topic (topic_query.c), and giving up what is damaged of it (topic_skip.c).

#include "adapters/store/topic_admin.h"

#include "adapters/log/watch.h"
#include "adapters/request.h"
#include "adapters/store/damage.h"
#include "adapters/store/damage_table.h"
#include "adapters/store/durable_log.h"
#include "adapters/store/identity.h"
#include "adapters/store/row.h"
#include "adapters/store/topic_row.h"
#include "core/model/name.h"

#include <errno.h>

#define TRIM_CHUNKS 1000u // deleted in one transaction

// One administrative write; made for it, freed when it is done.
struct topic_job {
	struct committer_job job;
	struct durable_log *log;
	struct request request;
	struct adapter_topic *open; // held while growing, purging or deleting
	uint64_t *until;            // where each partition ended when it was asked
	uint64_t messages, bytes;
	bool must_exist;
};

static struct topic_job *job_of(struct committer_job *base)
{
	return CONTAINER_OF(base, struct topic_job, job);
}

static struct topic_job *job_new(struct durable_log *log, const struct request *request)
{
	struct topic_job *job = calloc(1, sizeof *job);

	if (job) {
		job->log = log;
		request_hold(request, &job->request);
	} else {
		request_answer(request, CODE_OVERLOADED, NULL);
	}
	return job;
}

static void job_end(struct topic_job *job, int r, const struct adapter_answer *answer,
		    const char *text)
{
	request_end(&job->request, store_error_code(r), answer, text);
	if (job->open)
		store_topic_close(job->open);
	free(job->until);
	free(job);
}

static void job_run(struct topic_job *job, int class,
		    int (*apply)(struct committer_job *, struct committer *, MDB_txn *),
		    void (*done)(struct committer_job *, int))
{
	job->job.apply = apply;
	job->job.done = done;
	committer_run(job->log->committers[class], &job->job);
}

static void job_done(struct committer_job *base, int r)
{
	struct topic_job *job = job_of(base);

	job_end(job, r, NULL,
		r != -EEXIST      ? NULL
		: job->must_exist ? "it is not in the store, or is another one there"
				  : "it exists with more partitions, of another durability, or "
				    "as another incarnation");
}

// ---- making

static int topic_write(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	const struct topic *topic = job_of(base)->request.topic;
	struct store *store = committer_store(committer);
	struct store_topic_row old;
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes}, value;
	int r;

	store_key(bytes, topic->object.id, 0, 0);
	r = row_get(txn, store->topics, &key, sizeof old, &value);
	if (r == 0) {
		memcpy(&old, value.mv_data, sizeof old);
		if (old.incarnation != topic->incarnation || old.partitions > topic->partitions ||
		    old.durability != topic_row_durability(topic))
			return -EEXIST;
	} else if (r != -ENOENT) {
		return r;
	} else if (job_of(base)->must_exist) {
		return -EEXIST; // what conflicts with the wish is that it does not
	}
	r = topic_row_put(store, txn, topic, topic->partitions);
	if (r < 0 || (topic->physical && name_is_probe(topic->physical, strlen(topic->physical))))
		return r;
	return identity_see(store, txn, topic->object.id);
}

static int grow_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	return 0; // it is the time after a transaction that is wanted
}

static void grow_done(struct committer_job *base, int r)
{
	struct topic_job *job = job_of(base);

	if (!r)
		r = store_topic_grow(job->open, job->request.topic->partitions);
	job_done(base, r);
}

static void row_written(struct committer_job *base, int r)
{
	struct topic_job *job = job_of(base);
	int class = durable_log_class(job->request.topic);

	if (!r)
		job->open =
			store_topic_find(job->log->stores[class], job->request.topic->object.id);
	if (job->open && store_topic_partition_count(job->open) < job->request.topic->partitions)
		job_run(job, class, grow_apply, grow_done);
	else
		job_done(base, r);
}

static void row_write(struct durable_log *log, const struct request *request, bool must_exist)
{
	struct topic_job *job;

	if (!request->topic->partitions) {
		request_answer(request, CODE_BAD_REQUEST, "a topic has at least one partition");
		return;
	}
	job = job_new(log, request);
	if (!job)
		return;
	job->must_exist = must_exist;
	job_run(job, CLASS_D2, topic_write, row_written);
}

void store_topic_admin_create(struct durable_log *log, const struct topic *topic,
			      adapter_done_fn done, void *ctx)
{
	row_write(log, &(struct request){.topic = topic, .done = done, .ctx = ctx}, false);
}

void store_topic_admin_change(struct durable_log *log, const struct topic *topic,
			      adapter_done_fn done, void *ctx)
{
	row_write(log, &(struct request){.topic = topic, .done = done, .ctx = ctx}, true);
}

// ---- deleting and purging, in bounded steps

static int trim_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct topic_job *job = job_of(base);
	unsigned left = TRIM_CHUNKS;

	for (uint32_t i = 0; i < job->open->partition_count; ++i) {
		const struct append_trim trim = {.until = job->until ? job->until[i] : UINT64_MAX,
						 .before_ms = INT64_MIN,
						 .damaged_too = true};
		int r = append_trim(committer_append(committer), txn, &job->open->partitions[i],
				    &trim, left);

		if (r < 0)
			return r;
		left -= (unsigned)r;
		if (left == 0)
			return COMMITTER_AGAIN;
	}
	return 0;
}

// What was damaged in it goes with it: that is what was asked for.
static int purge_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	int r = trim_apply(base, committer, txn);

	return r ? r
		 : damage_table_forget(committer_store(committer), txn,
				       job_of(base)->request.topic->object.id, 0, DAMAGE_ANY);
}

static bool any_touched(const struct adapter_topic *topic)
{
	for (uint32_t i = 0; i < topic->partition_count; ++i)
		if (topic->partitions[i].touched)
			return true;
	return false;
}

// First the chunks, with the rows that say which are left; in a last transaction the rows.
static int delete_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct topic_job *job = job_of(base);
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_PARTITION_KEY, bytes};
	int r = trim_apply(base, committer, txn);

	if (!r && any_touched(job->open))
		return COMMITTER_AGAIN;
	for (uint32_t i = 0; r == 0 && i < job->open->partition_count; ++i) {
		store_key(bytes, job->request.topic->object.id, i, 0);
		r = mdb_del(txn, committer_store(committer)->partitions, &key, NULL);
		r = r == MDB_NOTFOUND ? 0 : store_error(r);
	}
	return r ? r
		 : damage_table_forget(committer_store(committer), txn,
				       job->request.topic->object.id, 0, DAMAGE_ANY);
}

static int row_delete(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes};
	int r;

	store_key(bytes, job_of(base)->request.topic->object.id, 0, 0);
	r = mdb_del(txn, committer_store(committer)->topics, &key, NULL);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

static void row_deleted(struct committer_job *base, int r)
{
	struct topic_job *job = job_of(base);

	if (r < 0)
		__atomic_store_n(&job->open->gone, false, __ATOMIC_RELEASE);
	job_done(base, r);
}

static void messages_deleted(struct committer_job *base, int r)
{
	if (r < 0)
		row_deleted(base, r);
	else
		job_run(job_of(base), CLASS_D2, row_delete, row_deleted);
}

// With the topic as the store has it. NULL: it has been answered, with `gone` where the topic is
// not there.
static struct topic_job *job_open(struct durable_log *log, const struct request *request,
				  enum code gone)
{
	int r = 0;
	struct adapter_topic *open =
		store_topic_open(log->stores[durable_log_class(request->topic)],
				 request->topic->object.id, request->topic->incarnation, &r);
	struct topic_job *job;

	if (!open) {
		request_answer(request, r == -ENOENT ? gone : store_error_code(r), NULL);
		return NULL;
	}
	job = job_new(log, request);
	if (job)
		job->open = open;
	else
		store_topic_close(open);
	return job;
}

// Deleting what is gone is done.
void store_topic_admin_delete(struct durable_log *log, const struct topic *topic,
			      adapter_done_fn done, void *ctx)
{
	const struct request request = {.topic = topic, .done = done, .ctx = ctx};
	struct topic_job *job = job_open(log, &request, CODE_OK);

	if (!job)
		return;
	// From now on sends are answered NOT_FOUND, and sources end: every source of the topic is
	// told.
	__atomic_store_n(&job->open->gone, true, __ATOMIC_RELEASE);
	log_watches_post(&job->open->watch_lock, &job->open->watches);
	job_run(job, durable_log_class(topic), delete_apply, messages_deleted);
}

static void purge_done(struct committer_job *base, int r)
{
	struct topic_job *job = job_of(base);

	struct adapter_answer answer = {.kind = ANSWER_PURGE,
					.purge = {.messages = job->messages, .bytes = job->bytes}};

	job_end(job, r, &answer, NULL);
}

void store_topic_admin_purge(struct durable_log *log, const struct topic *topic, bool preview,
			     adapter_answer_fn done, void *ctx)
{
	const struct request request = {
		.topic = topic, .preview = preview, .answer_done = done, .ctx = ctx};
	struct topic_job *job = job_open(log, &request, CODE_NOT_FOUND);
	uint32_t count;

	if (!job)
		return;
	count = store_topic_partition_count(job->open);
	job->until = calloc(count, sizeof *job->until);
	if (!job->until) {
		job_end(job, -ENOMEM, NULL, NULL);
		return;
	}
	for (uint32_t i = 0; i < count; ++i) {
		const struct store_partition *partition = store_topic_partition(job->open, i);

		job->until[i] = __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE);
		job->messages +=
			job->until[i] - __atomic_load_n(&partition->first, __ATOMIC_ACQUIRE);
		job->bytes += __atomic_load_n(&partition->bytes, __ATOMIC_ACQUIRE);
	}
	if (preview)
		purge_done(&job->job, 0);
	else
		job_run(job, durable_log_class(topic), purge_apply, purge_done);
}
