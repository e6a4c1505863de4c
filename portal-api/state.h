// What the portal's parts share. For the portal's thread.
#pragma once

#include "core/loop/loop.h"
#include "core/registry/reconcile.h"
#include "core/registry/registry.h"
#include "portal-api/http.h"
#include "portal-api/portal.h"

#include <pthread.h>

struct backlogs;
struct stats;
struct throttle;

struct portal {
	struct portal_config config; // defaults filled in; data_dir is the portal's own
	struct loop *loop;
	struct http_server *http;
	struct registry *registry;
	struct stats *stats;
	struct throttle *throttle;
	struct backlogs *backlogs;
	json_t *latency; // of the newest QUERY_TOTALS; NULL: none
	json_t *states;  // answer of QUERY_CLUSTER_STATES, at most a second old; NULL: none
	struct reconcile *reconcile;
	struct loop_timer reconcile_timer;
	struct loop_task reconcile_task;
	bool reconcile_posted; // atomic
	struct loop_task stop_task;
	pthread_t thread;
	uint16_t *ports;
	int64_t started_ms;
	uint64_t started_ns;
	size_t asking;      // queries and errands without an answer yet
	struct loop *aside; // its thread does the errands, one after the other
	pthread_t aside_thread;
	unsigned posting; // atomic: other threads inside loop_post()
	bool stopping, drained;
	bool restoring; // a backup is being prepared to replace the registry
	bool leaving;   // atomic
};

// Lets topics and groups that were made or deleted reach their backends.
void portal_changed(struct portal *portal);

// What would hold the portal's thread (passwords, copies of the registry) is done aside: `work` on
// another thread, one errand at a time, in order; then `done` on the portal's. Between the two
// nobody else touches what `ctx` owns. -ENOMEM: neither is called.
typedef void (*portal_errand_fn)(void *ctx);
int portal_errand(struct portal *portal, portal_errand_fn work, portal_errand_fn done, void *ctx);

// The answer comes on the portal's thread. `answer` is fn's; NULL unless code is OK. Takes
// `parameters`.
typedef void (*portal_answer_fn)(void *ctx, enum code code, json_t *answer, const char *text);
void portal_query(struct portal *portal, enum query_kind kind, json_t *parameters,
		  portal_answer_fn fn, void *ctx);

// Row of the last QUERY_CLUSTER_STATES; NULL: none.
const json_t *portal_cluster_state(const struct portal *portal, uint64_t cluster);
