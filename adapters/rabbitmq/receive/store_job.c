// The answer of a look comes on the ask link and is wanted on the home loop, whose source may be
// gone by then. One word decides: the answer is posted only if the job has not been abandoned, and
// a job is abandoned only if the answer has not been posted. What is abandoned frees itself on the
// ask link.

#include "adapters/rabbitmq/receive/store_job.h"

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"

#include <errno.h>
#include <stdio.h>

enum job_state { JOB_ASKING, JOB_ANSWERED, JOB_ABANDONED };

static void job_free(struct rabbitmq_store_job *job)
{
	model_unref(job->group);
	free(job);
}

static void on_task(struct loop_task *task)
{
	struct rabbitmq_store_job *job = CONTAINER_OF(task, struct rabbitmq_store_job, task);

	job->done(job, job->ctx);
	job_free(job);
}

static void on_answer(struct rabbitmq_store_look *look, enum code code, const char *text)
{
	struct rabbitmq_store_job *job = CONTAINER_OF(look, struct rabbitmq_store_job, look);

	job->code = code;
	snprintf(job->text, sizeof job->text, "%s", text ? text : code_sentence(code));
	if (__atomic_exchange_n(&job->state, JOB_ANSWERED, __ATOMIC_ACQ_REL) == JOB_ABANDONED)
		job_free(job);
	else
		loop_post(job->loop, &job->task);
}

int rabbitmq_store_job_start(struct adapter *adapter, const struct group *group,
			     const struct rabbitmq_store *known, struct loop *loop,
			     void (*done)(struct rabbitmq_store_job *job, void *ctx), void *ctx,
			     struct rabbitmq_store_job **ret)
{
	struct rabbitmq_store_job *job = calloc(1, sizeof *job);

	if (!job)
		return -ENOMEM;
	job->group = model_ref(group);
	job->look.adapter = adapter;
	job->look.group = job->group;
	job->look.done = on_answer;
	job->task.fn = on_task;
	job->loop = loop;
	job->done = done;
	job->ctx = ctx;
	*ret = job; // before it can be answered
	if (known)
		rabbitmq_store_count(&job->look, *known);
	else
		rabbitmq_store_look(&job->look);
	return 0;
}

bool rabbitmq_store_job_abandon(struct rabbitmq_store_job *job)
{
	return __atomic_exchange_n(&job->state, JOB_ABANDONED, __ATOMIC_ACQ_REL) != JOB_ANSWERED;
}
