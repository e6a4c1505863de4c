// A worker as every room of the proxy sees it: a loop, its limits, what all workers share, and the
// tables that the rooms keep on it. worker_thread.h owns it.
#pragma once

#include "core/base/map.h"
#include "core/loop/loop.h"
#include "proxy/base/latency.h"
#include "proxy/base/limits.h"

struct clients;
struct shared;
struct worker;

#define WORKER_MAX 64u

// All workers of a proxy; constant while one of them runs.
struct workers {
	struct worker *all[WORKER_MAX];
	unsigned count;
};

struct worker {
	const struct workers *workers;
	struct shared *shared;   // resource/shared.h
	struct clients *clients; // client/clients.h
	struct loop *loop;
	unsigned index;
	struct proxy_limits limits;
	struct latency latencies[LATENCY_KINDS];         // by enum latency_kind
	struct map tenants, topics, topic_stats, groups; // of resource/ and group/, by registry id
	uint64_t missing_logged_ns;                      // when a missing topic was last logged

	struct loop_task drain_look;
	bool draining; // the proxy leaves
	bool drain_look_due, drained;
	bool ending; // its loop has ended
};

// The worker whose loop is the home of the group.
struct worker *worker_home(const struct worker *worker, uint64_t group);
// Something has ended: was it the last that a drain waits for?
void worker_check_drained(struct worker *worker);
