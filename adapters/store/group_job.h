// One administrative request about a group, from the call to its answer.
#pragma once

#include "adapters/request.h"
#include "adapters/store/durable_log.h"

struct group_job {
	struct committer_job job;
	struct loop_task read;
	struct durable_log *log;
	const struct group *group;
	const struct topic *topic;
	struct adapter_topic *open; // NULL: the topic is not there
	struct group_target to;     // of a reset
	struct moved_partition *moved;
	size_t moved_count;
	bool preview, was_there;
	struct caller caller;
};

// References group and topic. NULL: no memory; the caller has been answered OVERLOADED. @thread any
struct group_job *group_job_new(struct durable_log *log, const struct group *group,
				const struct topic *topic, struct caller caller);
// Runs `apply` on the committer of the group's topic, `done` after the commit. @thread any
void group_job_run(struct group_job *job,
		   int (*apply)(struct committer_job *, struct committer *, MDB_txn *),
		   void (*done)(struct committer_job *, int));
// Answers with the code of `r`, and frees the job. `answer` is borrowed, and NULL when r is not 0
// or the caller waits for a code; `text` may be NULL.
void group_job_end(struct group_job *job, int r, const struct adapter_answer *answer,
		   const char *text);

// The job that a committer runs.
static inline struct group_job *group_job_of(struct committer_job *base)
{
	return CONTAINER_OF(base, struct group_job, job);
}
