// One worker: a thread, its loop, and everything that lives on it.
#pragma once

#include "core/base/log.h"
#include "core/base/sources.h"
#include "core/loop/loop.h"
#include "proxy/client/leaves.h"
#include "proxy/client/refusals.h"
#include "proxy/proxy.h"
#include "proxy/resource/latency.h"
#include "proxy/resource/tenant.h"

#include <pthread.h>

struct group_home;
struct listener;

// A session id is counter * WORKER_MAX + index of the worker.
#define WORKER_MAX 64u

struct worker {
	struct proxy *proxy;
	unsigned index;
	struct loop *loop;
	pthread_t thread;
	bool running;

	struct proxy_limits limits;
	struct ssl_ctx_st *tls;

	struct listener *listeners; // one for each of the proxy's
	size_t listener_count;
	struct list conns;
	struct list queries; // those that are not answered; of the first worker
	struct map sessions; // struct conn by session id
	uint64_t session_count;
	struct sources sources; // connections that are not authenticated
	struct refusals refusals;

	struct latency latencies[LATENCY_KINDS];         // by enum latency_kind
	struct map tenants, topics, topic_stats, groups; // by registry id

	struct fair fair;                  // the run queue
	struct fair_queue unauthenticated; // connections that are not authenticated
	struct loop_task run_task;
	bool run_due;

	struct leaves leaves; // subscriptions of connections that have ended
	struct list partial;  // connections whose large frame has begun (memory.c)
	struct loop_timer partial_timer;
	uint64_t missing_logged_ns; // when a missing topic was last logged

	struct loop_timer drain_timer;
	struct loop_task drain_look, close_groups;
	// In this order; left: its connections are gone.
	bool draining, drain_look_due, left, groups_closing, drained, ending;
};

int worker_new(struct proxy *proxy, unsigned index, const struct proxy_config *config,
	       struct worker **ret);
int worker_start(struct worker *worker);
void worker_stop(
	struct worker *worker); // and waits for its thread; accepts one that was not started
void worker_free(struct worker *worker); // stopped

void worker_enqueue(struct worker *worker, struct fair_queue *queue, struct fair_item *item);

void worker_drain(struct worker *worker, uint32_t deadline_ms); // @thread any, once
void worker_close_groups(struct worker *worker);  // all workers have left; @thread any, once
void worker_check_drained(struct worker *worker); // something has ended: was it the last?
// An object of the catalog has changed. @thread any
void worker_changed(struct worker *worker, enum model_kind kind, uint64_t id, bool cluster_gone);
void worker_reload(struct worker *worker, const struct proxy_limits *limits,
		   struct ssl_ctx_st *tls); // @thread any
