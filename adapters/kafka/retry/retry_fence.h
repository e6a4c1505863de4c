// Looks into a retry store on behalf of a writer of cursors: it is fenced for the topic's
// generation first.
#pragma once

#include "adapters/kafka/retry/retry_store.h"
#include "adapters/kafka/retry/retry_write.h"

// A look by an owner that will write cursors (retry_fence.c); embedded in memory of the caller.
struct retry_fence_job {
	const struct group *group; // borrowed until done
	const struct topic *topic;
	uint64_t log_generation; // of the topic
	uint32_t partitions;
	bool opens; // as that of a job
	void (*done)(struct retry_fence_job *self, struct retry_rows *rows, enum code code,
		     const char *text); // as that of a job
	// retry_fence.c's
	struct retry_job job;
	struct retry_batch batch;
	struct retry_item item;
	struct adapter *adapter;
};
void retry_fence_look(struct adapter *adapter, struct retry_fence_job *self); // @thread any
