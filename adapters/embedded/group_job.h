// One administrative question about a group, from the call to its answer.
#pragma once

#include "adapters/caller.h"
#include "adapters/embedded/durable_log.h"
#include "adapters/log/target.h"

struct group_job {
	struct committer_job job;
	struct log_job read;
	struct durable_log *log;
	const struct group *group;
	const struct topic *topic;
	struct adapter_topic *open; // NULL: the topic is not there
	json_t *to, *moved;         // of a reset
	bool preview, was_there;
	struct caller caller;
};

// Answers OVERLOADED itself when it returns NULL.
struct group_job *group_job_new(struct durable_log *log, const struct group *group,
				const struct topic *topic, struct caller caller);
void group_job_end(struct group_job *job, int r, json_t *answer, const char *text);

// Where a group is to stand in one partition. Positive 1: *ret; 0: it stays.
int store_group_target_resolve(const struct group_target *target, struct store *store, MDB_txn *txn,
			       const struct store_partition *partition, uint64_t *ret);
