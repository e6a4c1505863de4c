// Groups on the cluster: a queue that is bound to the exchange of its topic, and beside it the
// queues of its retry store, which the receive room makes when they are first needed.
//
// An imported queue is looked for and stays as it is; only what was made beside it is deleted. A
// queue of our own on an imported exchange gets all of its messages only where the exchange gives
// all of them to every queue, or to one that asks for all: one of another kind is refused.
//
// A group is moved to its end by purging its queues, and back by filling its replay queue from the
// stream of its topic (rewind.c). What its last consumer held is back in the
// queue once the queue has no consumer, so the number of consumers is waited for, for a while.

#include "adapters/rabbitmq/admin/groups.h"

#include "adapters/queue/answers.h"
#include "adapters/rabbitmq/admin/class.h"
#include "adapters/rabbitmq/admin/job.h"
#include "adapters/rabbitmq/admin/rewind.h"
#include "adapters/rabbitmq/ask/presence.h"
#include "adapters/rabbitmq/receive/store_memo.h"
#include "core/base/clock.h"

#define CONSUMER_MS        2000 // for the last consumer to be gone
#define CONSUMER_NATIVE_MS 200
#define CONSUMER_PAUSE_MS  10

static const char no_stream[] = "the exchange of its topic is imported, and has no stream";

// ---- making

static void create_done(struct rabbitmq_job *job)
{
	rabbitmq_presence_seen(job->adapter, job->base.group, 0);
	rabbitmq_job_end(job, CODE_OK, NULL, NULL);
}

static void queue_steps(struct rabbitmq_job *job)
{
	const struct group *group = job->base.group;
	struct rabbitmq_step *step;

	step = rabbitmq_job_step(job, RABBITMQ_QUEUE_DECLARE, group->physical);
	step->shape = (struct rabbitmq_shape){
		.kind = job->adapter->options.queue == RABBITMQ_QUORUM ? "quorum" : "classic",
		.replication = rabbitmq_class_copies(job->adapter, job->base.topic)};
	step = rabbitmq_job_step(job, RABBITMQ_BIND, group->physical);
	step->exchange = job->base.topic->physical;
}

static void queue_declare(struct rabbitmq_job *job)
{
	rabbitmq_job_again(job);
	queue_steps(job);
	rabbitmq_job_run(job, create_done);
}

// ---- making one that begins with what was sent before

static void begun(struct rabbitmq_job *job, uint64_t given_up, uint64_t copied)
{
	create_done(job);
}

// A queue that is there without the mark has begun.
static void start_looked(struct rabbitmq_job *job)
{
	const struct rabbitmq_rewind_plan plan = {.to = seek_target_of_start(job->base.group),
						  .creating = true,
						  .steps = queue_steps,
						  .end = begun};

	if (!job->steps[0].missing && job->steps[1].missing)
		queue_declare(job);
	else
		rabbitmq_rewind_run(job, &plan);
}

static void start_look(struct rabbitmq_job *job)
{
	const struct group *group = job->base.group;

	if (job->base.topic->imported) {
		rabbitmq_job_refuse(job, CODE_UNSUPPORTED_BY_BACKEND, no_stream);
		return;
	}
	rabbitmq_job_again(job);
	rabbitmq_job_step(job, RABBITMQ_QUEUE_LOOK, group->physical)->may_miss = true;
	rabbitmq_job_step_beside(job, RABBITMQ_EXCHANGE_LOOK, rabbitmq_name_start(group))
		->may_miss = true;
	rabbitmq_job_run(job, start_looked);
}

static bool begins_before(const struct rabbitmq_job *job)
{
	return job->adapter->options.history && job->base.group->start != GROUP_START_LATEST;
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

// Kinds that give every message to a queue that is bound with the key "#".
static const char *const kinds_for_all[] = {"fanout", "topic", "headers"};

static void kind_asked(struct rabbitmq_job *job)
{
	for (size_t i = 0; i < job->count; ++i) {
		if (!job->steps[i].differs) {
			queue_declare(job);
			return;
		}
	}
	rabbitmq_job_refuse(
		job, CODE_UNSUPPORTED_BY_BACKEND,
		"the exchange of its topic is no durable one of the kinds fanout, topic "
		"or headers, so a queue cannot get all of its messages");
}

// It is there, so that declaring it says whether it is of the kind, and makes nothing.
static void kind_ask(struct rabbitmq_job *job)
{
	rabbitmq_job_again(job);
	for (size_t i = 0; i < ARRAY_SIZE(kinds_for_all); ++i) {
		struct rabbitmq_step *step = rabbitmq_job_step(job, RABBITMQ_EXCHANGE_DECLARE,
							       job->base.topic->physical);

		step->may_differ = true;
		step->shape = (struct rabbitmq_shape){.kind = kinds_for_all[i]};
	}
	rabbitmq_job_run(job, kind_asked);
}

static void exchange_looked(struct rabbitmq_job *job)
{
	if (job->steps[0].missing)
		rabbitmq_job_refuse(job, CODE_CONFLICT, "the exchange of its topic is not there");
	else if (begins_before(job))
		start_look(job);
	else if (job->base.topic->imported)
		kind_ask(job);
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

// ---- deleting

static void level_delete(struct rabbitmq_job *job, unsigned level, bool attempts)
{
	rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_DELETE,
				 rabbitmq_name_level(job->base.group, level, attempts));
}

// An answer that came meanwhile may have told of the queue again.
static void delete_done(struct rabbitmq_job *job)
{
	rabbitmq_presence_forget(job->adapter, job->base.group);
	rabbitmq_store_memo_forget(job->adapter, job->base.group);
	rabbitmq_job_end(job, CODE_OK, NULL, NULL);
}

// The levels before `.retry`, the longest first: what is left when it is cut short is still a
// retry store (receive/store.h).
void rabbitmq_groups_delete(struct adapter *adapter, const struct group *group,
			    const struct topic *topic, adapter_done_fn done, void *ctx)
{
	struct rabbitmq_job *job = rabbitmq_job_new(
		adapter,
		&(struct request){.group = group, .topic = topic, .done = done, .ctx = ctx});

	if (!job)
		return;
	rabbitmq_presence_forget(adapter, group);
	if (!group->imported)
		rabbitmq_job_step(job, RABBITMQ_QUEUE_DELETE, group->physical);
	for (unsigned level = RABBITMQ_LEVELS; level-- > 0;) {
		level_delete(job, level, true);
		level_delete(job, level, false);
	}
	rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_DELETE, rabbitmq_name_retry(group));
	rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_DELETE, rabbitmq_name_replay(group));
	rabbitmq_job_step_beside(job, RABBITMQ_EXCHANGE_DELETE, rabbitmq_name_start(group));
	rabbitmq_job_run(job, delete_done);
}

// ---- counting

struct counting {
	struct rabbitmq_store_look look;
	struct rabbitmq_job *job;
	void (*then)(struct rabbitmq_job *job, const struct rabbitmq_store_look *look);
};

static void on_counted(struct rabbitmq_store_look *look, enum code code, const char *text)
{
	struct counting *counting = CONTAINER_OF(look, struct counting, look);

	if (code == CODE_OK)
		counting->then(counting->job, look);
	else
		rabbitmq_job_end(counting->job, code, NULL, text);
	free(counting);
}

// Everything that waits in the queue and its retry store, as far as that is there.
static void count_begin(struct rabbitmq_job *job,
			void (*then)(struct rabbitmq_job *job,
				     const struct rabbitmq_store_look *look))
{
	struct counting *counting = calloc(1, sizeof *counting);

	if (!counting) {
		rabbitmq_job_end(job, CODE_OVERLOADED, NULL, NULL);
		return;
	}
	counting->job = job;
	counting->then = then;
	counting->look = (struct rabbitmq_store_look){.adapter = job->adapter,
						      .group = job->base.group,
						      .with_queue = true,
						      .done = on_counted};
	rabbitmq_store_look(&counting->look);
}

// What the last consumers held is back when they are gone: after a source was closed the cluster
// needs a moment for it. Of an imported queue they may be native ones, which stay.
static bool consumer_awaited(struct rabbitmq_job *job)
{
	uint64_t consumers = job->steps[0].consumers + job->steps[1].consumers;

	if (job->replay_looked)
		consumers += job->steps[job->count - 1].consumers;
	if (!consumers || clock_now_ns() >= job->until_ns)
		return false;
	rabbitmq_job_repeat(job, CONSUMER_PAUSE_MS * MS_NS); // it is looked at once more
	return true;
}

static void look_failed(struct rabbitmq_job *job, enum code code, const char *text)
{
	bool missing = job->steps[0].verb == RABBITMQ_QUEUE_LOOK && job->steps[0].missing;
	char told[RABBITMQ_INCIDENT_TEXT];

	if (missing && code == CODE_NOT_FOUND) {
		rabbitmq_presence_missing(job->adapter, job->base.group, told);
		text = told;
	}
	rabbitmq_job_end(job, code, NULL, text);
}

static void level_look(struct rabbitmq_job *job, unsigned level, bool attempts)
{
	rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_LOOK,
				 rabbitmq_name_level(job->base.group, level, attempts))
		->may_miss = true;
}

// `.retry`, unless it is known to be missing, and behind it the levels that are known, those of
// copies with attempts first.
static void store_steps(struct rabbitmq_job *job)
{
	const struct rabbitmq_store *store = &job->store;

	if (!job->store_known || store->retry)
		rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_LOOK,
					 rabbitmq_name_retry(job->base.group))
			->may_miss = true;
	for (unsigned attempts = 2; attempts-- > 0;)
		for (unsigned level = 0; level < store->levels[attempts]; ++level)
			level_look(job, level, attempts);
	job->replay_looked = job->adapter->options.history && (!job->store_known || store->replay);
	if (job->replay_looked) // the last one
		rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_LOOK,
					 rabbitmq_name_replay(job->base.group))
			->may_miss = true;
}

static uint64_t replay_messages(const struct rabbitmq_job *job)
{
	return job->replay_looked ? job->steps[job->count - 1].messages : 0;
}

// The group's queue and its retry store, as far as that is known. A queue that is known to be
// missing is not looked for again: presence.c does that, and each look is a line in the broker's
// log.
static void look_begin(struct rabbitmq_job *job, void (*then)(struct rabbitmq_job *job))
{
	const struct group *group = job->base.group;
	uint64_t wait_ms = group->imported ? CONSUMER_NATIVE_MS : CONSUMER_MS;
	char told[RABBITMQ_INCIDENT_TEXT];

	if (rabbitmq_presence_is_missing(job->adapter, group, told)) {
		rabbitmq_job_end(job, CODE_NOT_FOUND, NULL, told);
		return;
	}
	job->failed = look_failed;
	job->until_ns = clock_now_ns() + wait_ms * MS_NS;
	rabbitmq_job_step(job, RABBITMQ_QUEUE_LOOK, group->physical);
	job->store_known =
		rabbitmq_store_memo_get(job->adapter, group, &job->store, &job->store_number);
	store_steps(job);
	rabbitmq_job_run(job, then);
}

static void store_remember(struct rabbitmq_job *job, struct rabbitmq_store store)
{
	rabbitmq_store_memo_put(job->adapter, job->base.group, store, job->store_number);
}

static void backlog_counted(struct rabbitmq_job *job, const struct rabbitmq_store_look *look)
{
	store_remember(job, look->store);
	queue_answers_backlog(&look->counts, rabbitmq_job_answered, job);
}

// All that is there was looked at. What another client has deleted of it counts nothing.
static void known_answer(struct rabbitmq_job *job)
{
	size_t retrying_end = 1u + job->store.retry + job->store.levels[1];
	struct queue_counts counts = {.ready = job->steps[0].messages + replay_messages(job)};
	bool missing = false;

	for (size_t i = 1; i < job->count - job->replay_looked; ++i) {
		missing |= job->steps[i].missing;
		*(i < retrying_end ? &counts.retrying : &counts.delayed) += job->steps[i].messages;
	}
	if (missing)
		rabbitmq_store_memo_forget(job->adapter, job->base.group);
	queue_answers_backlog(&counts, rabbitmq_job_answered, job);
}

static void backlog_looked(struct rabbitmq_job *job)
{
	rabbitmq_presence_seen(job->adapter, job->base.group, 0);
	if (consumer_awaited(job))
		return;
	if (job->store_known) {
		known_answer(job);
	} else if (job->steps[1].missing) {
		store_remember(job, (struct rabbitmq_store){.replay = replay_messages(job) > 0});
		queue_answers_backlog(&(struct queue_counts){.ready = job->steps[0].messages +
								      replay_messages(job)},
				      rabbitmq_job_answered, job);
	} else {
		count_begin(job, backlog_counted);
	}
}

// One row that stands for all partitions, as that of an open source.
void rabbitmq_groups_backlog(struct adapter *adapter, const struct group *group,
			     const struct topic *topic, adapter_answer_fn done, void *ctx)
{
	struct rabbitmq_job *job = rabbitmq_job_new(
		adapter,
		&(struct request){.group = group, .topic = topic, .answer_done = done, .ctx = ctx});

	if (job)
		look_begin(job, backlog_looked);
}

// ---- moving

static void purged(struct rabbitmq_job *job)
{
	uint64_t skipped = 0;

	for (size_t i = 0; i < job->count; ++i)
		skipped += job->steps[i].messages;
	rabbitmq_store_memo_forget(job->adapter, job->base.group);
	queue_answers_reset(skipped, 0, rabbitmq_job_answered, job);
}

// The levels first: what is over meanwhile goes to `.retry`, which comes behind them.
static void purge_steps(struct rabbitmq_job *job)
{
	const struct group *group = job->base.group;

	for (unsigned attempts = 0; attempts < 2; ++attempts)
		for (unsigned level = job->store.levels[attempts]; level-- > 0;)
			rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_PURGE,
						 rabbitmq_name_level(group, level, attempts))
				->may_miss = true;
	if (job->store.retry)
		rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_PURGE, rabbitmq_name_retry(group))
			->may_miss = true;
	rabbitmq_job_step(job, RABBITMQ_QUEUE_PURGE, group->physical);
}

// What waits and is among what comes again is not given up.
static void moved_back(struct rabbitmq_job *job, uint64_t given_up, uint64_t copied)
{
	uint64_t waiting = job->base.preview ? job->waiting : given_up;

	queue_answers_reset(waiting > copied ? waiting - copied : 0, copied, rabbitmq_job_answered,
			    job);
}

static void move_back(struct rabbitmq_job *job)
{
	const struct rabbitmq_rewind_plan plan = {
		.to = job->to, .steps = purge_steps, .end = moved_back};

	if (job->base.preview)
		rabbitmq_rewind_count(job, &plan);
	else
		rabbitmq_rewind_run(job, &plan);
}

static void reset_counted(struct rabbitmq_job *job, const struct rabbitmq_store_look *look)
{
	const struct queue_counts *counts = &look->counts;

	job->store = look->store;
	job->waiting = counts->ready + counts->retrying + counts->delayed;
	if (job->to.place != SEEK_LATEST) {
		move_back(job);
		return;
	}
	if (job->base.preview) {
		queue_answers_reset(job->waiting, 0, rabbitmq_job_answered, job);
		return;
	}
	rabbitmq_job_again(job);
	purge_steps(job);
	if (look->store.replay)
		rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_DELETE,
					 rabbitmq_name_replay(job->base.group));
	rabbitmq_job_run(job, purged);
}

static void reset_looked(struct rabbitmq_job *job)
{
	rabbitmq_presence_seen(job->adapter, job->base.group, 0);
	if (!consumer_awaited(job))
		count_begin(job, reset_counted);
}

void rabbitmq_groups_reset(struct adapter *adapter, const struct group *group,
			   const struct topic *topic, const struct seek_target *to, bool preview,
			   adapter_answer_fn done, void *ctx)
{
	struct rabbitmq_job *job;

	if ((!adapter->options.history || to->place == SEEK_POSITIONS) &&
	    queue_answers_refuse_reset(to, done, ctx))
		return;
	job = rabbitmq_job_new(adapter, &(struct request){.group = group,
							  .topic = topic,
							  .preview = preview,
							  .answer_done = done,
							  .ctx = ctx});
	if (!job)
		return;
	job->to = (struct seek_target){.place = to->place, .time_ms = to->time_ms};
	if (to->place != SEEK_LATEST && topic->imported)
		rabbitmq_job_refuse(job, CODE_UNSUPPORTED_BY_BACKEND, no_stream);
	else
		look_begin(job, reset_looked);
}
