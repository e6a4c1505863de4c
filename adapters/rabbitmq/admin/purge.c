// Purges what waits for a topic: the queues that are bound to its exchange, and their retry stores.
//
// Only the management API tells which these are; a dead-letter topic without it purges what it
// keeps itself. Of an imported exchange the queues of other clients are left alone: those count
// have a name of ours.
//
// A stream cannot be purged: asking for it ends the connection (540). So the stream of a topic is
// deleted and declared anew, which also gives it the retention that the topic has now. What is sent
// in between is not in it; the queues of groups stay bound. How many messages it had is not
// counted: the broker's count of a stream lags behind.

#include "adapters/rabbitmq/admin/purge.h"

#include "adapters/rabbitmq/admin/job.h"
#include "adapters/rabbitmq/admin/topics.h"

#include <stdio.h>

struct purge {
	struct rabbitmq_job *job;
	struct rabbitmq_manage_ask manage;
	struct rabbitmq_bindings bindings;
	struct rabbitmq_queues queues;
	size_t next; // of the queues
	uint64_t messages;
	struct rabbitmq_name history;
};

static void purge_end(struct purge *purge, enum code code, const char *text)
{
	struct adapter_answer answer = {
		.kind = ANSWER_PURGE, .purge = {.messages = purge->messages, .bytes = ANSWER_NONE}};

	rabbitmq_job_end(purge->job, code, &answer, text);
	rabbitmq_facts_bindings_free(&purge->bindings);
	rabbitmq_facts_queues_free(&purge->queues);
	free(purge);
}

// The queue itself, or one that is made beside it.
static bool is_of(const char *name, const char *queue)
{
	size_t size = strlen(queue);

	if (strncmp(name, queue, size) != 0)
		return false;
	return !name[size] ||
	       ((name[size] == '.' || name[size] == '~') && rabbitmq_name_is_beside(name));
}

static bool is_bound(const struct purge *purge, const char *name)
{
	const struct topic *topic = purge->job->base.topic;

	for (size_t i = 0; i < purge->bindings.count; ++i) {
		const struct rabbitmq_binding_row *row = &purge->bindings.rows[i];

		if (strcmp(row->exchange, topic->physical) == 0 && is_of(name, row->queue) &&
		    (!topic->imported || strncmp(row->queue, "mqp.", 4) == 0))
			return true;
	}
	return false;
}

static void queues_purge(struct purge *purge);

static void purged(struct rabbitmq_job *job)
{
	struct purge *purge = job->context;

	for (size_t i = 0; i < job->count; ++i)
		purge->messages += job->steps[i].messages;
	rabbitmq_job_again(job);
	queues_purge(purge);
}

static void on_failed(struct rabbitmq_job *job, enum code code, const char *text)
{
	purge_end(job->context, code, text);
}

// As many as a round has steps.
static void queues_purge(struct purge *purge)
{
	struct rabbitmq_job *job = purge->job;

	while (purge->next < purge->queues.count && job->count < RABBITMQ_JOB_STEPS) {
		const char *name = purge->queues.rows[purge->next++].name;

		if (is_bound(purge, name) && strcmp(name, purge->history.text) != 0)
			rabbitmq_job_step(
				job, job->base.preview ? RABBITMQ_QUEUE_LOOK : RABBITMQ_QUEUE_PURGE,
				name)
				->may_miss = true;
	}
	if (job->count)
		rabbitmq_job_run(job, purged);
	else
		purge_end(purge, CODE_OK, NULL);
}

static void on_thread(struct rabbitmq_manage_ask *ask)
{
	struct purge *purge = CONTAINER_OF(ask, struct purge, manage);
	char error[320], text[512];

	if (rabbitmq_manage_bindings(ask->adapter, &purge->bindings, error) == 0 &&
	    rabbitmq_manage_queues(ask->adapter, &purge->queues, error) == 0) {
		queues_purge(purge);
		return;
	}
	snprintf(text, sizeof text, "cluster %s: %s", ask->adapter->cluster, error);
	purge_end(purge, CODE_BACKEND_DOWN, text);
}

static bool has_stream(const struct rabbitmq_job *job)
{
	return job->adapter->options.history && !job->base.topic->imported && !job->base.preview;
}

static void stream_renew(struct rabbitmq_job *job, void (*then)(struct rabbitmq_job *job))
{
	const struct topic *topic = job->base.topic;
	struct rabbitmq_name history = rabbitmq_name_history(topic);
	struct rabbitmq_step *step;

	rabbitmq_job_again(job);
	rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_DELETE, history);
	step = rabbitmq_job_step_beside(job, RABBITMQ_QUEUE_DECLARE, history);
	step->shape = rabbitmq_topics_history_shape(job->adapter, topic);
	step = rabbitmq_job_step_beside(job, RABBITMQ_BIND, history);
	step->exchange = topic->physical;
	rabbitmq_job_run(job, then);
}

static void stream_renewed(struct rabbitmq_job *job)
{
	struct purge *purge = job->context;

	rabbitmq_job_again(job);
	rabbitmq_manage_post(&purge->manage);
}

static void exchange_looked(struct rabbitmq_job *job)
{
	struct purge *purge = calloc(1, sizeof *purge);

	if (!purge) {
		rabbitmq_job_end(job, CODE_OVERLOADED, NULL, NULL);
		return;
	}
	job->context = purge;
	job->failed = on_failed;
	purge->job = job;
	purge->history = rabbitmq_name_history(job->base.topic);
	purge->manage = (struct rabbitmq_manage_ask){.adapter = job->adapter, .done = on_thread};
	if (has_stream(job))
		stream_renew(job, stream_renewed);
	else
		stream_renewed(job);
}

static void kept_answer(struct rabbitmq_job *job)
{
	struct adapter_answer answer = {.kind = ANSWER_PURGE,
					.purge = {.messages = job->purged, .bytes = ANSWER_NONE}};

	rabbitmq_job_end(job, CODE_OK, &answer, NULL);
}

// Without the management API.
static void kept_purged(struct rabbitmq_job *job)
{
	job->purged = job->steps[1].messages;
	if (has_stream(job))
		stream_renew(job, kept_answer);
	else
		kept_answer(job);
}

void rabbitmq_purge_topic(struct adapter *adapter, const struct topic *topic, bool preview,
			  adapter_answer_fn done, void *ctx)
{
	struct rabbitmq_job *job;

	if (!adapter->manage && !topic->dead_letter_of) {
		done(ctx, CODE_UNSUPPORTED_BY_BACKEND, NULL,
		     "only the management API lists the queues of a topic, and "
		     "options.management is not set");
		return;
	}
	job = rabbitmq_job_new(adapter, &(struct request){.topic = topic,
							  .preview = preview,
							  .answer_done = done,
							  .ctx = ctx});
	if (!job)
		return;
	rabbitmq_job_step(job, RABBITMQ_EXCHANGE_LOOK, topic->physical);
	if (!adapter->manage)
		rabbitmq_job_step_beside(job, preview ? RABBITMQ_QUEUE_LOOK : RABBITMQ_QUEUE_PURGE,
					 rabbitmq_name_kept(topic));
	rabbitmq_job_run(job, adapter->manage ? exchange_looked : kept_purged);
}
