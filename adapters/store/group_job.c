// One administrative request about a group.
//
// It holds what it needs from the call to its answer: references to the group and its topic, the
// topic as the store has it, and the caller. It runs on the committer of the topic's store, step
// after step, or on a reader's thread.
//
// Invariant: a job is answered once and freed by that (group_job_end()). Not here: what the steps
// do (group_admin.c, group_reset.c).

#include "adapters/store/group_job.h"

#include "adapters/store/error.h"
#include "adapters/store/topic.h"

#include <errno.h>

static void job_free(struct group_job *job)
{
	if (job->open)
		store_topic_close(job->open);
	seek_target_deinit(&job->to);
	moves_deinit(&job->moved);
	free(job);
}

void group_job_end(struct group_job *job, int r, const struct adapter_answer *answer,
		   const char *text)
{
	request_end(&job->request, store_error_code(r), answer, text);
	job_free(job);
}

struct group_job *group_job_new(struct durable_log *log, const struct request *request)
{
	const struct topic *topic = request->topic;
	struct group_job *job = calloc(1, sizeof *job);
	int r;

	if (!job) {
		request_answer(request, CODE_OVERLOADED, NULL);
		return NULL;
	}
	job->log = log;
	request_hold(request, &job->request);
	job->open = store_topic_open(log->stores[durable_log_class(topic)], topic->object.id,
				     topic->incarnation, &r);
	return job;
}

void group_job_run(struct group_job *job,
		   int (*apply)(struct committer_job *, struct committer *, MDB_txn *),
		   void (*done)(struct committer_job *, int))
{
	job->job.apply = apply;
	job->job.done = done;
	committer_run(job->log->committers[durable_log_class(job->request.topic)], &job->job);
}
