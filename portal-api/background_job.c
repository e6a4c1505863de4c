// Runs one function on the portal's executor and then another on the portal's loop.
//
// The job is one task that is posted twice: to the executor, and from there to the loop. The loop
// does not end while a job is under way (state.c).
//
// Invariant: `done` runs exactly once, on the loop, after `work`. The context stays the caller's.
// It cannot cancel a job.

#include "portal-api/background_job.h"

#include "core/base/util.h"
#include "portal-api/state.h"

#include <errno.h>

struct background_job {
	struct loop_task task; // of the executor, then of the loop
	struct portal *portal;
	background_job_fn work, done;
	void *ctx;
};

static void end_job(struct loop_task *task)
{
	struct background_job *job = CONTAINER_OF(task, struct background_job, task);
	struct portal *portal = job->portal;

	job->done(job->ctx);
	free(job);
	state_answered(portal);
}

// @thread executor
static void run_job(struct loop_task *task)
{
	struct background_job *job = CONTAINER_OF(task, struct background_job, task);

	job->work(job->ctx);
	job->task.fn = end_job;
	state_post(job->portal, &job->task);
}

int background_job_run(struct portal *portal, background_job_fn work, background_job_fn done,
		       void *ctx)
{
	struct background_job *job = malloc(sizeof *job);

	if (!job)
		return -ENOMEM;
	*job = (struct background_job){
		.task.fn = run_job, .portal = portal, .work = work, .done = done, .ctx = ctx};
	state_asked(portal);
	executor_post(portal->jobs, &job->task);
	return 0;
}
