// Topics on the cluster: an exchange, the marker that says which life of the topic it is, and the
// queue in which a dead-letter topic keeps. With the option `history` each topic of ours has a
// stream, too.
//
// The marker is made before the exchange and deleted after it, so an exchange without its marker
// is another's: it is neither taken nor deleted. An imported exchange has no marker: it is looked
// for, and stays as it is. Looking for what is not there costs a channel, so what is probably
// missing is looked for once.

#include "adapters/rabbitmq/admin/topics.h"

#include "adapters/queue/answers.h"
#include "adapters/rabbitmq/admin/class.h"
#include "adapters/rabbitmq/admin/ended.h"
#include "adapters/rabbitmq/admin/job.h"

struct rabbitmq_shape rabbitmq_topics_history_shape(const struct adapter *adapter,
						    const struct topic *topic)
{
	return (struct rabbitmq_shape){.kind = "stream",
				       .replication = rabbitmq_class_copies(adapter, topic),
				       .keep_ms = topic->retention_ms,
				       .keep_bytes = topic->retention_bytes};
}

// ---- making

static void create_done(struct rabbitmq_job *job)
{
	rabbitmq_ended_remove(job->adapter, job->base.topic);
	rabbitmq_job_end(job, CODE_OK, NULL, NULL);
}

static void kept_declare(struct rabbitmq_job *job)
{
	const struct topic *topic = job->base.topic;
	struct rabbitmq_name kept = rabbitmq_name_kept(topic);
	struct rabbitmq_step *step = rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_DECLARE, kept);

	step->shape = (struct rabbitmq_shape){
		.kind = "quorum", .replication = rabbitmq_class_copies(job->adapter, topic)};
	step = rabbitmq_job_step_beside(job, RABBITMQ_BIND, kept);
	step->exchange = topic->physical;
}

// The stream in which a topic of ours keeps its history. One that is there keeps what it was
// declared with: a broker changes no argument.
static void history_declare(struct rabbitmq_job *job)
{
	const struct topic *topic = job->base.topic;
	struct rabbitmq_name history = rabbitmq_name_history(topic);
	struct rabbitmq_step *step;

	if (!job->adapter->options.history)
		return;
	step = rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_DECLARE, history);
	step->may_differ = true;
	step->shape = rabbitmq_topics_history_shape(job->adapter, topic);
	step = rabbitmq_job_step_beside(job, RABBITMQ_BIND, history);
	step->exchange = topic->physical;
}

static void exchange_declare(struct rabbitmq_job *job)
{
	const struct topic *topic = job->base.topic;
	struct rabbitmq_step *step;

	rabbitmq_job_again(job);
	step = rabbitmq_job_step_beside(job, RABBITMQ_EXCHANGE_DECLARE,
					rabbitmq_name_marker(topic));
	step->shape = (struct rabbitmq_shape){.kind = "fanout", .internal = true};
	step = rabbitmq_job_step(job, RABBITMQ_EXCHANGE_DECLARE, topic->physical);
	step->shape = (struct rabbitmq_shape){.kind = "fanout"};
	if (topic->dead_letter_of)
		kept_declare(job);
	history_declare(job);
	rabbitmq_job_run(job, create_done);
}

static void marker_looked(struct rabbitmq_job *job)
{
	if (job->steps[0].missing)
		rabbitmq_job_refuse(job, CODE_CONFLICT, "it exists as another incarnation");
	else
		exchange_declare(job);
}

static void marker_look(struct rabbitmq_job *job, void (*then)(struct rabbitmq_job *job))
{
	struct rabbitmq_step *step;

	rabbitmq_job_again(job);
	step = rabbitmq_job_step_beside(job, RABBITMQ_EXCHANGE_LOOK,
					rabbitmq_name_marker(job->base.topic));
	step->may_miss = true;
	rabbitmq_job_run(job, then);
}

static void class_checked(struct rabbitmq_job *job, const char *refusal)
{
	if (refusal)
		rabbitmq_job_refuse(job, CODE_UNSUPPORTED_BY_BACKEND, refusal);
	else
		exchange_declare(job);
}

static void exchange_looked(struct rabbitmq_job *job)
{
	bool missing = job->steps[0].missing;

	if (job->base.topic->imported && missing)
		rabbitmq_job_refuse(job, CODE_CONFLICT,
				    "it is not on the cluster: put it there, or delete it here "
				    "and make it again");
	else if (job->base.topic->imported)
		create_done(job);
	else if (missing)
		rabbitmq_class_check(job, class_checked); // what is there stays
	else
		marker_look(job, marker_looked);
}

static void exchange_look(struct rabbitmq_job *job, void (*then)(struct rabbitmq_job *job))
{
	rabbitmq_job_step(job, RABBITMQ_EXCHANGE_LOOK, job->base.topic->physical)->may_miss = true;
	rabbitmq_job_run(job, then);
}

void rabbitmq_topics_create(struct adapter *adapter, const struct topic *topic,
			    adapter_done_fn done, void *ctx)
{
	struct rabbitmq_job *job;

	if (!topic->partitions) {
		done(ctx, CODE_BAD_REQUEST, "a topic has at least one partition");
		return;
	}
	job = rabbitmq_job_new(adapter,
			       &(struct request){.topic = topic, .done = done, .ctx = ctx});
	if (job)
		exchange_look(job, exchange_looked);
}

// ---- changing

static void change_done(struct rabbitmq_job *job)
{
	rabbitmq_job_end(job, CODE_OK, NULL, NULL);
}

// A topic from before the option gets its stream.
static void change_begin(struct rabbitmq_job *job)
{
	rabbitmq_job_again(job);
	history_declare(job);
	rabbitmq_job_run(job, change_done);
}

static void change_looked(struct rabbitmq_job *job)
{
	if (job->steps[0].missing)
		rabbitmq_job_refuse(job, CODE_CONFLICT,
				    "it is not on the cluster, or is another incarnation");
	else if (job->base.topic->imported)
		change_done(job);
	else if (job->steps[0].name != job->base.topic->physical)
		change_begin(job);
	else
		marker_look(job, change_looked);
}

// Partitions and limits of a topic are ours alone: the exchange knows nothing of them.
void rabbitmq_topics_change(struct adapter *adapter, const struct topic *topic,
			    adapter_done_fn done, void *ctx)
{
	struct rabbitmq_job *job = rabbitmq_job_new(
		adapter, &(struct request){.topic = topic, .done = done, .ctx = ctx});

	if (job)
		exchange_look(job, change_looked);
}

// ---- deleting

static void delete_done(struct rabbitmq_job *job)
{
	rabbitmq_ended_add(job->adapter, job->base.topic);
	rabbitmq_job_end(job, CODE_OK, NULL, NULL);
}

static void delete_looked(struct rabbitmq_job *job)
{
	const struct topic *topic = job->base.topic;
	bool missing = job->steps[0].missing;

	rabbitmq_job_again(job);
	if (!missing) {
		rabbitmq_job_step(job, RABBITMQ_EXCHANGE_DELETE, topic->physical);
		if (topic->dead_letter_of)
			rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_DELETE,
						 rabbitmq_name_kept(topic));
		rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_DELETE, rabbitmq_name_history(topic));
		rabbitmq_job_step_beside(job, RABBITMQ_EXCHANGE_DELETE,
					 rabbitmq_name_marker(topic));
	}
	rabbitmq_job_run(job, delete_done);
}

void rabbitmq_topics_delete(struct adapter *adapter, const struct topic *topic,
			    adapter_done_fn done, void *ctx)
{
	struct rabbitmq_job *job = rabbitmq_job_new(
		adapter, &(struct request){.topic = topic, .done = done, .ctx = ctx});

	if (!job)
		return;
	if (topic->imported)
		delete_done(job);
	else
		marker_look(job, delete_looked);
}

// ---- describing

static void described(struct rabbitmq_job *job)
{
	queue_answers_describe(job->base.topic,
			       job->count > 1 ? job->steps[1].messages : ANSWER_NONE,
			       rabbitmq_job_answered, job);
}

void rabbitmq_topics_describe(struct adapter *adapter, const struct topic *topic,
			      adapter_answer_fn done, void *ctx)
{
	struct rabbitmq_job *job = rabbitmq_job_new(
		adapter, &(struct request){.topic = topic, .answer_done = done, .ctx = ctx});

	if (!job)
		return;
	rabbitmq_job_step(job, RABBITMQ_EXCHANGE_LOOK, topic->physical);
	if (topic->dead_letter_of)
		rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_LOOK, rabbitmq_name_kept(topic));
	rabbitmq_job_run(job, described);
}

// ---- settings

static void settings_looked(struct rabbitmq_job *job)
{
	struct adapter_answer answer = {.kind = ANSWER_SETTINGS,
					.settings = {.message_bytes = ANSWER_NONE,
						     .retention_ms = ANSWER_NONE,
						     .retention_bytes = ANSWER_NONE,
						     .oldest_ms = ANSWER_NONE}};

	rabbitmq_job_end(job, CODE_OK, &answer, NULL);
}

void rabbitmq_topics_settings(struct adapter *adapter, const struct topic *topic,
			      adapter_answer_fn done, void *ctx)
{
	struct rabbitmq_job *job = rabbitmq_job_new(
		adapter, &(struct request){.topic = topic, .answer_done = done, .ctx = ctx});

	if (!job)
		return;
	rabbitmq_job_step(job, RABBITMQ_EXCHANGE_LOOK, topic->physical);
	rabbitmq_job_run(job, settings_looked);
}
