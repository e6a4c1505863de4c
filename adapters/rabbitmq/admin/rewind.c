// Two passes over the stream, with the change of the group's own queue in between:
//
//   1  `.replay` is made anew
//   2  the stream is copied into it, from the place that is asked for up to its end
//   3  the group's queue is emptied, or made and bound
//   4  what was sent meanwhile is copied, too
//
// The source hands out `.replay` before anything of the group's queue, so the order of a key holds
// without holding up a send: what is in the group's queue was sent after step 3. The queue is bound
// all the time. What was routed to it before step 3, and is confirmed, was confirmed by the stream,
// too, and lies before the mark of step 4 (history/replay.c). A message that comes between step 3
// and that mark is in both queues: it is recognized by its id when it comes the second time.
//
// **What dies in between.** Until step 3 the group has what it had; a failure deletes `.replay`
// again, and what a death leaves of it comes twice. Behind it the caller is told that it has to be
// done again: the stream has all of it. A group that is made has a mark of its own until the end,
// an internal exchange: making it once more, when that is there, begins from the beginning.
//
// Invariant: one rewind of a group at a time.

#include "adapters/rabbitmq/admin/rewind.h"

#include "adapters/rabbitmq/admin/class.h"
#include "adapters/rabbitmq/history/replay.h"
#include "adapters/rabbitmq/receive/store_memo.h"

#include <errno.h>
#include <stdio.h>

struct rewind {
	struct list in_list;
	struct rabbitmq_job *job;
	struct rabbitmq_rewind_plan plan;
	struct rabbitmq_replay replay;
	struct rabbitmq_name queue;
	uint64_t given_up, copied;
	bool changed; // the group's queue
	enum code code;
	char text[512];
};

struct rabbitmq_rewinds {
	pthread_mutex_t lock;
	struct list list; // struct rewind
};

int rabbitmq_rewind_start(struct adapter *adapter)
{
	adapter->rewinds = calloc(1, sizeof *adapter->rewinds);
	if (!adapter->rewinds)
		return -ENOMEM;
	pthread_mutex_init(&adapter->rewinds->lock, NULL);
	list_init(&adapter->rewinds->list);
	return 0;
}

void rabbitmq_rewind_stop(struct adapter *adapter)
{
	if (!adapter->rewinds)
		return;
	assert(list_empty(&adapter->rewinds->list));
	pthread_mutex_destroy(&adapter->rewinds->lock);
	free(adapter->rewinds);
	adapter->rewinds = NULL;
}

// False: the group has one.
static bool rewind_enter(struct rewind *rewind)
{
	struct rabbitmq_rewinds *all = rewind->job->adapter->rewinds;
	uint64_t group = rewind->job->base.group->object.id;
	bool other = false;

	pthread_mutex_lock(&all->lock);
	LIST_FOREACH(node, next, &all->list)
	{
		other |= LIST_ENTRY(node, struct rewind, in_list)->job->base.group->object.id ==
			 group;
	}
	if (!other)
		list_push_back(&all->list, &rewind->in_list);
	pthread_mutex_unlock(&all->lock);
	return !other;
}

static void rewind_leave(struct rewind *rewind)
{
	struct rabbitmq_rewinds *all = rewind->job->adapter->rewinds;

	pthread_mutex_lock(&all->lock);
	list_unlink(&rewind->in_list);
	pthread_mutex_unlock(&all->lock);
	free(rewind);
}

// ---- failing

static void failure_end(struct rabbitmq_job *job)
{
	struct rewind *rewind = job->context;
	struct rewind copy = *rewind;

	rabbitmq_store_memo_forget(job->adapter, job->base.group);
	rewind_leave(rewind);
	rabbitmq_job_refuse(job, copy.code, copy.text);
}

static void cleanup_failed(struct rabbitmq_job *job, enum code code, const char *text)
{
	failure_end(job);
}

static void rewind_fail(struct rewind *rewind, enum code code, const char *text)
{
	struct rabbitmq_job *job = rewind->job;
	const char *why = text ? text : code_sentence(code);

	rewind->code = code;
	snprintf(rewind->text, sizeof rewind->text, "%.400s%s", why,
		 rewind->changed && !rewind->plan.creating
			 ? "; the group was moved in part: move it once more"
			 : "");
	job->failed = cleanup_failed;
	rabbitmq_job_again(job);
	if (!rewind->changed && code != CODE_SHUTTING_DOWN)
		rabbitmq_job_step(job, RABBITMQ_QUEUE_DELETE, rewind->queue.text);
	rabbitmq_job_run(job, failure_end);
}

static void on_failed(struct rabbitmq_job *job, enum code code, const char *text)
{
	rewind_fail(job->context, code, text);
}

// ---- 4, and the end

static void finished(struct rabbitmq_job *job)
{
	struct rewind *rewind = job->context;
	struct rewind copy = *rewind;

	rabbitmq_store_memo_forget(job->adapter, job->base.group);
	rewind_leave(rewind);
	copy.plan.end(job, copy.given_up, copy.copied);
}

static void on_second_pass(struct rabbitmq_replay *replay, enum code code, const char *text)
{
	struct rewind *rewind = CONTAINER_OF(replay, struct rewind, replay);
	struct rabbitmq_job *job = rewind->job;

	if (code != CODE_OK) {
		rewind_fail(rewind, code, text);
		return;
	}
	rewind->copied += replay->copied;
	rabbitmq_job_again(job);
	if (!rewind->copied)
		rabbitmq_job_step(job, RABBITMQ_QUEUE_DELETE, rewind->queue.text);
	if (rewind->plan.creating)
		rabbitmq_job_step_beside(job, RABBITMQ_EXCHANGE_DELETE,
					 rabbitmq_name_start(job->base.group));
	rabbitmq_job_run(job, finished);
}

static void steps_done(struct rabbitmq_job *job)
{
	struct rewind *rewind = job->context;

	for (size_t i = 0; i < job->count; ++i)
		if (job->steps[i].verb == RABBITMQ_QUEUE_PURGE)
			rewind->given_up += job->steps[i].messages;
	rewind->replay.by_time = false;
	rewind->replay.offset = rewind->replay.next;
	rewind->replay.done = on_second_pass;
	rabbitmq_replay_run(&rewind->replay);
}

// ---- 1 to 3

static void on_first_pass(struct rabbitmq_replay *replay, enum code code, const char *text)
{
	struct rewind *rewind = CONTAINER_OF(replay, struct rewind, replay);

	if (code != CODE_OK) {
		rewind_fail(rewind, code, text);
		return;
	}
	rewind->copied = replay->copied;
	rewind->changed = true; // perhaps, from now on
	rabbitmq_job_again(rewind->job);
	rewind->plan.steps(rewind->job);
	rabbitmq_job_run(rewind->job, steps_done);
}

static void queue_made(struct rabbitmq_job *job)
{
	struct rewind *rewind = job->context;

	rabbitmq_replay_run(&rewind->replay);
}

static void queue_make(struct rewind *rewind)
{
	struct rabbitmq_job *job = rewind->job;
	struct rabbitmq_step *step;

	rabbitmq_job_again(job);
	if (rewind->plan.creating) {
		step = rabbitmq_job_step_beside(job, RABBITMQ_EXCHANGE_DECLARE,
						rabbitmq_name_start(job->base.group));
		step->shape = (struct rabbitmq_shape){.kind = "fanout", .internal = true};
	}
	rabbitmq_job_step(job, RABBITMQ_QUEUE_DELETE, rewind->queue.text);
	step = rabbitmq_job_step(job, RABBITMQ_QUEUE_DECLARE, rewind->queue.text);
	step->shape = (struct rabbitmq_shape){
		.kind = "quorum",
		.replication = rabbitmq_class_copies(job->adapter, job->base.topic)};
	rabbitmq_job_run(job, queue_made);
}

// NULL: the job has ended.
static struct rewind *rewind_new(struct rabbitmq_job *job, const struct rabbitmq_rewind_plan *plan)
{
	struct rewind *rewind = calloc(1, sizeof *rewind);

	if (!rewind) {
		rabbitmq_job_end(job, CODE_OVERLOADED, NULL, NULL);
		return NULL;
	}
	list_init(&rewind->in_list);
	rewind->job = job;
	rewind->plan = *plan;
	rewind->queue = rabbitmq_name_replay(job->base.group);
	rewind->replay = (struct rabbitmq_replay){.adapter = job->adapter,
						  .topic = job->base.topic,
						  .by_time = plan->to.place == SEEK_TIME,
						  .time_ms = plan->to.time_ms};
	job->context = rewind;
	return rewind;
}

void rabbitmq_rewind_run(struct rabbitmq_job *job, const struct rabbitmq_rewind_plan *plan)
{
	struct rewind *rewind = rewind_new(job, plan);

	assert(plan->to.place == SEEK_EARLIEST || plan->to.place == SEEK_TIME);
	if (!rewind)
		return;
	if (!rewind_enter(rewind)) {
		free(rewind);
		rabbitmq_job_refuse(job, CODE_NOT_READY, "it is just being moved");
		return;
	}
	rewind->replay.queue = rewind->queue.text;
	rewind->replay.done = on_first_pass;
	job->failed = on_failed;
	queue_make(rewind);
}

// ---- counting

static void on_counted(struct rabbitmq_replay *replay, enum code code, const char *text)
{
	struct rewind *rewind = CONTAINER_OF(replay, struct rewind, replay);
	struct rabbitmq_job *job = rewind->job;
	struct rabbitmq_rewind_plan plan = rewind->plan;
	uint64_t copied = replay->copied;
	char why[256];

	snprintf(why, sizeof why, "%s", text ? text : code_sentence(code));
	free(rewind);
	if (code == CODE_OK)
		plan.end(job, 0, copied);
	else
		rabbitmq_job_refuse(job, code, why);
}

void rabbitmq_rewind_count(struct rabbitmq_job *job, const struct rabbitmq_rewind_plan *plan)
{
	struct rewind *rewind = rewind_new(job, plan);

	if (!rewind)
		return;
	rewind->replay.done = on_counted;
	rabbitmq_replay_run(&rewind->replay);
}
