// One administrative request about a group, from the call to its answer. Its steps run on the
// admin loop, but for those that look at the retry store.
#pragma once

#include "adapters/kafka/client/task.h"
#include "adapters/kafka/offsets/offsets.h"
#include "adapters/kafka/retry/retry_store.h"
#include "adapters/log/moves.h"
#include "adapters/request.h"
#include "adapters/seek_target.h"

struct group_job {
	struct kafka_task task;
	struct request request;
	struct kafka_offsets offsets; // as committed, every partition in order
	struct adapter *adapter;
	struct adapter_topic *open;
	struct seek_target to; // of a reset
	struct moves moved;
	void *private;         // of a reset
	struct retry_job look; // of a backlog
};

// Asks `run` on the admin loop; answers OVERLOADED itself when there is no memory.
struct group_job *kafka_group_job_new(struct adapter *adapter, const struct request *request);
void kafka_group_job_post(struct group_job *job,
			  void (*run)(struct adapter *adapter, struct kafka_task *task));
// Answers as request_end(), and frees the job.
void kafka_group_job_end(struct group_job *job, enum code code, const struct adapter_answer *answer,
			 const char *text);

// Reads bounds and committed offsets; ends the job and returns false when that fails.
// Partitions without an offset have OFFSET_NONE; no partition has one: ret_there is false.
bool kafka_group_job_read(struct group_job *job, bool *ret_there);
// What was read becomes places in the log as it is now.
void kafka_group_job_fit(struct group_job *job);

// Where a group is to stand, for every partition; UINT64_MAX: it stays. @thread kafka-admin
enum code kafka_group_job_resolve(const struct seek_target *target, struct adapter_topic *topic,
				  uint64_t *positions, uint32_t count);
