// An administrative request from its slot to its answer: rounds of steps on the ask link, each
// decided by what the one before has found.
//
// Invariant: the caller is answered exactly once. A job is on one thread at a time: the caller's
// until its first round begins, then the ask link's. What it does not do: undo; a round that fails
// is reported, and the request may be made again.

#include "adapters/rabbitmq/admin/job.h"

#include <stdio.h>

struct rabbitmq_job *rabbitmq_job_new(struct adapter *adapter, const struct request *base)
{
	struct rabbitmq_job *job = calloc(1, sizeof *job);

	if (!job) {
		request_answer(base, CODE_OVERLOADED, NULL);
		return NULL;
	}
	job->adapter = adapter;
	request_hold(base, &job->base);
	return job;
}

void rabbitmq_job_end(struct rabbitmq_job *job, enum code code, const struct adapter_answer *answer,
		      const char *text)
{
	request_end(&job->base, code, answer, text);
	free(job);
}

void rabbitmq_job_answered(void *job, enum code code, const struct adapter_answer *answer,
			   const char *text)
{
	rabbitmq_job_end(job, code, answer, text);
}

void rabbitmq_job_refuse(struct rabbitmq_job *job, enum code code, const char *why)
{
	const struct request *base = &job->base;
	char text[512];

	snprintf(text, sizeof text, "cluster %s, %s %s: %s", job->adapter->cluster,
		 base->group ? "queue" : "exchange",
		 base->group   ? base->group->physical
		 : base->topic ? base->topic->physical
			       : "",
		 why);
	rabbitmq_job_end(job, code, NULL, text);
}

struct rabbitmq_step *rabbitmq_job_step(struct rabbitmq_job *job, enum rabbitmq_verb verb,
					const char *name)
{
	struct rabbitmq_step *step = &job->steps[job->count];

	assert(job->count < RABBITMQ_JOB_STEPS);
	++job->count;
	*step = (struct rabbitmq_step){.verb = (uint8_t)verb, .name = name};
	return step;
}

struct rabbitmq_step *rabbitmq_job_step_beside(struct rabbitmq_job *job, enum rabbitmq_verb verb,
					       struct rabbitmq_name name)
{
	assert(job->count < RABBITMQ_JOB_STEPS);
	job->names[job->count] = name;
	return rabbitmq_job_step(job, verb, job->names[job->count].text);
}

void rabbitmq_job_again(struct rabbitmq_job *job)
{
	job->count = 0;
}

static void on_done(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct rabbitmq_job *job = CONTAINER_OF(ask, struct rabbitmq_job, ask);

	if (code == CODE_OK)
		job->then(job);
	else if (job->failed)
		job->failed(job, code, text);
	else
		rabbitmq_job_end(job, code, NULL, text);
}

static void round_run(struct rabbitmq_job *job, uint64_t rest_ns)
{
	job->ask = (struct rabbitmq_ask){.adapter = job->adapter,
					 .steps = job->steps,
					 .count = job->count,
					 .rest_ns = rest_ns,
					 .done = on_done};
	rabbitmq_ask_run(&job->ask);
}

void rabbitmq_job_run(struct rabbitmq_job *job, void (*then)(struct rabbitmq_job *job))
{
	job->then = then;
	if (job->count)
		round_run(job, 0);
	else
		then(job);
}

void rabbitmq_job_repeat(struct rabbitmq_job *job, uint64_t rest_ns)
{
	for (size_t i = 0; i < job->count; ++i) {
		job->steps[i].missing = false;
		job->steps[i].messages = job->steps[i].consumers = 0;
	}
	round_run(job, rest_ns);
}
