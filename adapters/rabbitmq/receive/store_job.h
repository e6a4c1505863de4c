// A look at a retry store that its source may stop waiting for: a source that is detached does not
// wait for a cluster that is away.
#pragma once

#include "adapters/rabbitmq/receive/store.h"
#include "core/loop/loop.h"

struct rabbitmq_store_job {
	struct rabbitmq_store_look look;
	enum code code; // of the answer
	char text[256];
	// store_job.c's.
	struct loop_task task;
	struct loop *loop;
	const struct group *group; // referenced
	void (*done)(struct rabbitmq_store_job *job, void *ctx);
	void *ctx;
	uint32_t state; // atomic
};

// Answered on this loop with done(), behind which the job is freed. `known` NULL: finds what is
// there; else counts its levels. -ENOMEM.
int rabbitmq_store_job_start(struct adapter *adapter, const struct group *group,
			     const struct rabbitmq_store *known, struct loop *loop,
			     void (*done)(struct rabbitmq_store_job *job, void *ctx), void *ctx,
			     struct rabbitmq_store_job **ret);
// True: done() will not come. False: it is on its way to the loop. @thread the loop
bool rabbitmq_store_job_abandon(struct rabbitmq_store_job *job);
