// One administrative request of a cluster: the caller that waits, and the steps on the ask link
// that are under way for it.
#pragma once

#include "adapters/rabbitmq/ask/ask.h"
#include "adapters/rabbitmq/ask/names.h"
#include "adapters/rabbitmq/manage/manage.h"
#include "adapters/rabbitmq/receive/store.h"
#include "adapters/request.h"

#define RABBITMQ_JOB_STEPS 20

struct rabbitmq_job {
	struct adapter *adapter;
	struct request base;
	struct rabbitmq_ask ask;
	// Of the round that is being filled, under way, or was just carried out.
	struct rabbitmq_step steps[RABBITMQ_JOB_STEPS];
	struct rabbitmq_name names[RABBITMQ_JOB_STEPS];
	size_t count;
	void (*then)(struct rabbitmq_job *job);
	uint64_t until_ns; // the caller's own: how long it waits for something
	// Of a round that fails, in place of ending the job; NULL: the job ends.
	void (*failed)(struct rabbitmq_job *job, enum code code, const char *text);
	void *context;   // the caller's own
	uint64_t purged; // purge.c's
	// groups.c's: what was known of the retry store when a count began.
	struct rabbitmq_store store;
	uint64_t store_number;
	bool store_known, replay_looked;
	struct seek_target to; // without positions
	uint64_t waiting;
	struct rabbitmq_manage_ask manage;
	void (*class_checked)(struct rabbitmq_job *job, const char *refusal); // class.c's
};

// Answers OVERLOADED itself and returns NULL when there is no memory. @thread any
struct rabbitmq_job *rabbitmq_job_new(struct adapter *adapter, const struct request *base);
// Adds a step to the round; the caller fills in the rest of it. `name` stays as long as the job
// does: it is one of the model's.
struct rabbitmq_step *rabbitmq_job_step(struct rabbitmq_job *job, enum rabbitmq_verb verb,
					const char *name);
// Of what is made beside a topic or group: the name is copied.
struct rabbitmq_step *rabbitmq_job_step_beside(struct rabbitmq_job *job, enum rabbitmq_verb verb,
					       struct rabbitmq_name name);
// Carries out the round, then calls `then`, which begins another or ends the job. A round that
// fails ends it. Of an empty round `then` is called at once. @thread any
void rabbitmq_job_run(struct rabbitmq_job *job, void (*then)(struct rabbitmq_job *job));
void rabbitmq_job_again(struct rabbitmq_job *job); // begins another round: there are no steps
// The same round once more after a rest. @thread ask link
void rabbitmq_job_repeat(struct rabbitmq_job *job, uint64_t rest_ns);
// Answers, and frees it. Once.
void rabbitmq_job_end(struct rabbitmq_job *job, enum code code, const struct adapter_answer *answer,
		      const char *text);
// The same as a caller of what answers: `job` is its ctx.
void rabbitmq_job_answered(void *job, enum code code, const struct adapter_answer *answer,
			   const char *text);
// Refuses in words that name the cluster and the topic or group.
void rabbitmq_job_refuse(struct rabbitmq_job *job, enum code code, const char *why);
