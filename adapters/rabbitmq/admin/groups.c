// Groups on the cluster: a queue that is bound to the exchange of its topic, and beside it the
// queues of its retry store, which the receive room makes when they are first needed.
//
// An imported queue is looked for and stays as it is; only what was made beside it is deleted. A
// queue of our own on an imported exchange gets all of its messages only where the exchange gives
// all of them to every queue, or to one that asks for all: one of another kind is refused.
//
// A group is moved to its end by purging its queues. What its last consumer held is back in the
// queue once the queue has no consumer, so the number of consumers is waited for, for a while.

#include "adapters/rabbitmq/admin/groups.h"

#include "adapters/rabbitmq/admin/class.h"
#include "adapters/rabbitmq/admin/job.h"
#include "core/base/clock.h"

#define CONSUMER_MS       2000 // for the last consumer to be gone
#define CONSUMER_PAUSE_MS 20

// ---- making

static void create_done(struct rabbitmq_job *job)
{
	rabbitmq_job_end(job, CODE_OK, NULL, NULL);
}

static void queue_declare(struct rabbitmq_job *job)
{
	const struct group *group = job->base.group;
	struct rabbitmq_step *step;

	rabbitmq_job_again(job);
	step = rabbitmq_job_step(job, RABBITMQ_QUEUE_DECLARE, group->physical);
	step->shape = (struct rabbitmq_shape){
		.kind = job->adapter->options.queue == RABBITMQ_QUORUM ? "quorum" : "classic",
		.replication = rabbitmq_class_copies(job->adapter, job->base.topic)};
	step = rabbitmq_job_step(job, RABBITMQ_BIND, group->physical);
	step->exchange = job->base.topic->physical;
	rabbitmq_job_run(job, create_done);
}

static void queue_looked(struct rabbitmq_job *job)
{
	if (job->steps[0].missing)
		rabbitmq_job_refuse(job, CODE_CONFLICT,
				    "it is not on the cluster: put it there, or delete it here "
				    "and make it again");
	else
		create_done(job);
}

static void exchange_looked(struct rabbitmq_job *job)
{
	if (job->steps[0].missing)
		rabbitmq_job_refuse(job, CODE_CONFLICT, "the exchange of its topic is not there");
	else
		queue_declare(job);
}

void rabbitmq_groups_create(struct adapter *adapter, const struct group *group,
			    const struct topic *topic, adapter_done_fn done, void *ctx)
{
	struct rabbitmq_job *job = rabbitmq_job_new(
		adapter,
		&(struct request){.group = group, .topic = topic, .done = done, .ctx = ctx});
	struct rabbitmq_step *step;

	if (!job)
		return;
	if (group->imported)
		step = rabbitmq_job_step(job, RABBITMQ_QUEUE_LOOK, group->physical);
	else
		step = rabbitmq_job_step(job, RABBITMQ_EXCHANGE_LOOK, topic->physical);
	step->may_miss = true;
	rabbitmq_job_run(job, group->imported ? queue_looked : exchange_looked);
}

// ---- all queues of a group

// A step for each queue of the retry store.
static void store_steps(struct rabbitmq_job *job, enum rabbitmq_verb verb)
{
	const struct group *group = job->base.group;

	rabbitmq_job_step_beside(job, verb, rabbitmq_name_retry(group))->may_miss = true;
	for (unsigned level = 0; level < RABBITMQ_LEVELS; ++level) {
		rabbitmq_job_step_beside(job, verb, rabbitmq_name_level(group, level, true))
			->may_miss = true;
		rabbitmq_job_step_beside(job, verb, rabbitmq_name_level(group, level, false))
			->may_miss = true;
	}
}

// ---- deleting

// The levels first: what is over while they go stays in `.retry`, which goes last but one.
void rabbitmq_groups_delete(struct adapter *adapter, const struct group *group,
			    const struct topic *topic, adapter_done_fn done, void *ctx)
{
	struct rabbitmq_job *job = rabbitmq_job_new(
		adapter,
		&(struct request){.group = group, .topic = topic, .done = done, .ctx = ctx});

	if (!job)
		return;
	if (!group->imported)
		rabbitmq_job_step(job, RABBITMQ_QUEUE_DELETE, group->physical);
	store_steps(job, RABBITMQ_QUEUE_DELETE);
	rabbitmq_job_run(job, create_done);
}

// ---- moving to the end

static uint64_t messages_of(const struct rabbitmq_job *job)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < job->count; ++i)
		sum += job->steps[i].messages;
	return sum;
}

static void purged(struct rabbitmq_job *job)
{
	struct moved_partition row = {.skipped = messages_of(job)};
	struct adapter_answer answer = {.kind = ANSWER_RESET, .reset = {&row, 1}};

	rabbitmq_job_end(job, CODE_OK, &answer, NULL);
}

// true: it is looked at once more.
static bool consumer_awaited(struct rabbitmq_job *job)
{
	if (!job->steps[0].consumers || clock_now_ns() >= job->until_ns)
		return false;
	rabbitmq_job_repeat(job, CONSUMER_PAUSE_MS * MS_NS);
	return true;
}

static void reset_looked(struct rabbitmq_job *job)
{
	if (consumer_awaited(job))
		return;
	rabbitmq_job_again(job);
	rabbitmq_job_step(job, job->base.preview ? RABBITMQ_QUEUE_LOOK : RABBITMQ_QUEUE_PURGE,
			  job->base.group->physical);
	store_steps(job, job->base.preview ? RABBITMQ_QUEUE_LOOK : RABBITMQ_QUEUE_PURGE);
	rabbitmq_job_run(job, purged);
}

void rabbitmq_groups_reset(struct adapter *adapter, const struct group *group,
			   const struct topic *topic, const struct seek_target *to, bool preview,
			   adapter_answer_fn done, void *ctx)
{
	struct rabbitmq_job *job;

	if (to->place != SEEK_LATEST) {
		done(ctx, CODE_UNSUPPORTED_BY_BACKEND, NULL,
		     "the cluster keeps no positions: a group can only be moved to the end");
		return;
	}
	job = rabbitmq_job_new(adapter, &(struct request){.group = group,
							  .topic = topic,
							  .preview = preview,
							  .answer_done = done,
							  .ctx = ctx});
	if (!job)
		return;
	job->until_ns = preview ? 0 : clock_now_ns() + CONSUMER_MS * MS_NS;
	rabbitmq_job_step(job, RABBITMQ_QUEUE_LOOK, group->physical);
	rabbitmq_job_run(job, reset_looked);
}

// ---- counting

static void counted(struct rabbitmq_job *job)
{
	struct source_partition row = {.ready = job->steps[0].messages,
				       .retrying = job->steps[1].messages};
	struct adapter_answer answer = {.kind = ANSWER_BACKLOG, .backlog = {&row, 1}};

	for (size_t i = 2; i < job->count; i += 2) {
		row.retrying += job->steps[i].messages;
		row.delayed += job->steps[i + 1].messages;
	}
	rabbitmq_job_end(job, CODE_OK, &answer, NULL);
}

void rabbitmq_groups_backlog(struct adapter *adapter, const struct group *group,
			     const struct topic *topic, adapter_answer_fn done, void *ctx)
{
	struct rabbitmq_job *job = rabbitmq_job_new(
		adapter,
		&(struct request){.group = group, .topic = topic, .answer_done = done, .ctx = ctx});

	if (!job)
		return;
	rabbitmq_job_step(job, RABBITMQ_QUEUE_LOOK, group->physical);
	store_steps(job, RABBITMQ_QUEUE_LOOK);
	rabbitmq_job_run(job, counted);
}
