// What the portal's parts share. For the portal's thread.
#pragma once

#include "core/http/http.h"
#include "core/loop/executor.h"
#include "core/registry/reconcile.h"
#include "core/registry/registry.h"
#include "portal-api/portal.h"

#include <pthread.h>

struct backlogs;
struct incidents;
struct leader;
struct route;
struct counters;
struct throttle;

struct portal {
	struct portal_config config; // defaults filled in; data_dir is the portal's own
	struct loop *loop;
	struct http_server *http;
	const struct route *routes; // the table
	size_t route_count;
	struct registry *registry;
	struct counters *counters;
	struct throttle *throttle;
	struct backlogs *backlogs;
	struct incidents *incidents;
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
	size_t asking;         // queries and background jobs without an answer yet
	struct executor *jobs; // one thread: one background job after the other
	unsigned posting;      // atomic: other threads inside loop_post()
	bool stopping, drained;
	bool restoring;             // a backup is being prepared to replace the registry
	bool leaving;               // atomic
	struct leader *leader;      // of the control links; NULL: none
	uint8_t authority_hash[32]; // of its key
};

// Posts to the portal's loop. The loop may run the task, and end, before loop_post() is done with
// it: portal_stop() waits for those that are inside. @thread any
void state_post(struct portal *portal, struct loop_task *task);

// Something is asked of another thread, whose answer the loop must live for; and it has come.
void state_asked(struct portal *portal);
void state_answered(struct portal *portal);
void state_stop_when_idle(struct portal *portal); // drained, and nothing is asked

// Lets topics and groups that were made or deleted reach their backends. @thread any
void state_wake_reconciler(struct portal *portal);

// Row of the last QUERY_CLUSTER_STATES; NULL: none.
const json_t *state_cluster(const struct portal *portal, uint64_t cluster);
