// Fills the replay queue of a group from the stream of its topic: what it gets before what is in
// its own queue. For a group that is moved back, and one that begins with what was sent before.
#pragma once

#include "adapters/rabbitmq/admin/job.h"

struct rabbitmq_rewinds;

struct rabbitmq_rewind_plan {
	struct seek_target to; // SEEK_EARLIEST or SEEK_TIME
	bool creating;         // the group is being made
	// Adds the steps that end what the group would get else: from then on its queue takes what
	// is sent, and nothing that was there before.
	void (*steps)(struct rabbitmq_job *job);
	// With OK: how many messages were given up by the steps, and how many come again.
	void (*end)(struct rabbitmq_job *job, uint64_t given_up, uint64_t copied);
};

int rabbitmq_rewind_start(struct adapter *adapter);
void rabbitmq_rewind_stop(struct adapter *adapter); // nothing of the adapter runs any more

// Ends the job when it fails. One at a time for each group: NOT_READY. @thread any
void rabbitmq_rewind_run(struct rabbitmq_job *job, const struct rabbitmq_rewind_plan *plan);
// How many messages come again, counted for a few seconds; nothing is changed. @thread any
void rabbitmq_rewind_count(struct rabbitmq_job *job, const struct rabbitmq_rewind_plan *plan);
