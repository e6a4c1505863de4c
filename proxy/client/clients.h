// The connections of one worker: their table, their run queue, and what the service tells all of
// them.
#pragma once

#include "core/base/map.h"
#include "core/base/peer_shares.h"
#include "core/loop/loop.h"
#include "proxy/client/leave_queue.h"
#include "proxy/client/refusals.h"
#include "proxy/engine/fair.h"

struct network;
struct ssl_ctx_st;
struct worker;

// The same for all connections of a process, and constant while there are any.
struct client_service {
	const char *proxy_id, *server_version;
	uint8_t salt_secret[32]; // of the cluster: stable salts for keys that do not exist
	const char **addresses;  // as clients are told
	size_t address_count;
	const struct network *balancers; // whose connections begin with a PROXY header
	size_t balancer_count;
};

struct clients {
	struct worker *worker;
	const struct client_service *service;
	struct ssl_ctx_st *tls; // of new connections; NULL: no TLS
	struct list conns;
	struct map
		sessions; // struct conn by session id: counter * WORKER_MAX + index of the worker
	uint64_t session_count;
	struct peer_shares peer_shares; // connections that are not authenticated
	struct refusals refusals;

	struct fair fair;                  // the run queue
	struct fair_queue unauthenticated; // connections that are not authenticated
	struct loop_task run_task;
	bool run_due;

	struct leave_queue leave_queue; // subscriptions of connections that have ended
	struct list partial;            // connections whose large frame has begun (memory.c)
	struct loop_timer partial_timer;
};

int clients_init(struct clients *clients, struct worker *worker,
		 const struct client_service *service, struct ssl_ctx_st *tls);
void clients_deinit(struct clients *clients); // all closed
void clients_set_tls(struct clients *clients, struct ssl_ctx_st *tls);

// The item is run soon, beside others of its queue.
void clients_enqueue(struct clients *clients, struct fair_queue *queue, struct fair_item *item);

void clients_close_all(struct clients *clients, const char *text); // SHUTTING_DOWN
void clients_goaway(struct clients *clients, uint32_t deadline_ms);
// An access key was changed or deleted.
void clients_key_changed(struct clients *clients, uint64_t key);
// No connection, and no subscription that has still to leave its group.
bool clients_gone(const struct clients *clients);
