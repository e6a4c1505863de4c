// What was done with the store while it was recorded, and when each of it was promised.
#pragma once

#include "tests/contract/harness.h"

#define NEVER SIZE_MAX

// Moments are positions in the record: what had been promised by a cut is what has a smaller one.
struct fact {
	bool d1;
	uint32_t partition;
	uint64_t offset; // of an acknowledged send
	size_t sent, sent_ok;
	size_t acked, acked_ok;
	size_t delayed, delayed_ok; // nacked with a delay
	int64_t due_ms;             // when it is over
};

struct workload {
	const struct topic *topic, *d1_topic;
	const struct group *group;
	struct fact *facts; // by number of message
	uint32_t count;
	uint32_t doubts; // commits whose last write failed
	size_t begin;    // cuts before are not looked at: the store was being made
	int64_t ended_ms;
};

// In `dir`, which is empty. Everything random follows from the seed.
void workload_run(struct workload *workload, const char *dir, uint32_t rounds, uint64_t seed);
// Batches that together are more than one transaction takes; returns how many were acknowledged.
size_t workload_bulk(const char *dir);
// Acknowledgements of D2 sends that came before all that was written was durable, and answers to
// settles and changes that came before their job had ended so (durable.h).
size_t workload_early_acks(void);
void workload_free(struct workload *workload);

uint32_t workload_body_size(uint32_t number);
void workload_body(uint32_t number, uint8_t *room);
