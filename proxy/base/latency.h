// How long messages take, as histograms of one worker: plain numbers, read on its own thread.
#pragma once

#include "core/base/latency_bounds.h"

#include <jansson.h>
#include <stdint.h>

enum latency_kind {
	LATENCY_SEND,    // from handing a message to the backend to its acknowledgement
	LATENCY_DELIVER, // from when it was stored to its first delivery
	LATENCY_SETTLE,  // from a SETTLE to the answer that it is durable
	LATENCY_KINDS
};

struct latency {
	uint64_t counts[LATENCY_BOUNDS + 1]; // by bucket, the last beyond all bounds
	uint64_t sum_us;
};

void latency_add(struct latency *latency, uint64_t ns, uint64_t messages);
// Adds all kinds of a worker to {send: {counts: […], sum_us}, …}.
void latency_collect(json_t *answer, const struct latency latencies[LATENCY_KINDS]);
