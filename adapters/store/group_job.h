// One administrative request about a group, from the call to its answer.
#pragma once

#include "adapters/log/moves.h"
#include "adapters/request.h"
#include "adapters/store/durable_log.h"

struct group_job {
	struct committer_job job;
	struct loop_task read;
	struct request request;
	struct durable_log *log;
	struct adapter_topic *open; // NULL: the topic is not there
	struct seek_target to;      // of a reset
	struct moves moved;
	bool was_there;
};

// NULL: no memory; the caller has been answered OVERLOADED. @thread any
struct group_job *group_job_new(struct durable_log *log, const struct request *request);
// Runs `apply` on the committer of the group's topic, `done` after the commit. @thread any
void group_job_run(struct group_job *job,
		   int (*apply)(struct committer_job *, struct committer *, MDB_txn *),
		   void (*done)(struct committer_job *, int));
// Answers with the code of `r`, as request_end(), and frees the job.
void group_job_end(struct group_job *job, int r, const struct adapter_answer *answer,
		   const char *text);

// The job that a committer runs.
static inline struct group_job *group_job_of(struct committer_job *base)
{
	return CONTAINER_OF(base, struct group_job, job);
}
