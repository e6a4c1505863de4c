// One worker: a thread, its loop, and everything that lives on it.
#pragma once

#include "core/loop/loop_thread.h"
#include "core/model/model.h"
#include "proxy/base/worker.h"
#include "proxy/client/clients.h"
#include "proxy/listener.h"

struct probes;
struct queries;
struct ssl_ctx_st;
struct worker_thread;

// What a thread is part of. `probes` and `queries` live on the first worker only.
struct worker_thread_config {
	const struct workers *workers;
	struct shared *shared;
	const struct client_service *service;
	struct bound_listener *listeners;
	size_t listener_count;
	struct probes *probes;
	struct queries *queries;
	const struct proxy_limits *limits;
	struct ssl_ctx_st *tls;
	// While it drains: its connections are gone; its groups are closed, too. Once each, on it.
	void (*left)(void *ctx);
	void (*drained)(void *ctx);
	void *ctx;
};

struct worker_thread {
	struct worker worker;
	struct clients clients;
	struct listeners listeners;
	struct probes *probes;   // NULL: not the first worker
	struct queries *queries; // the same
	void (*on_left)(void *ctx);
	void (*on_drained)(void *ctx);
	void *ctx;
	struct loop_thread thread;
	struct loop_timer drain_timer;
	struct loop_task close_groups;
	bool left, groups_closing; // in this order, then worker.drained
};

int worker_thread_new(const struct worker_thread_config *config, unsigned index,
		      struct worker_thread **ret);
// Accepts from now on.
int worker_thread_start(struct worker_thread *thread, const struct worker_thread_config *config);
// Waits for its end; accepts one that was not started.
void worker_thread_stop(struct worker_thread *thread);
void worker_thread_free(struct worker_thread *thread); // stopped; accepts NULL

void worker_thread_drain(struct worker_thread *thread, uint32_t deadline_ms); // @thread any, once
// All workers have left. @thread any, once
void worker_thread_close_groups(struct worker_thread *thread);
// An object of the catalog has changed. @thread any
void worker_thread_changed(struct worker_thread *thread, enum model_kind kind, uint64_t id,
			   bool cluster_gone);
void worker_thread_reload(struct worker_thread *thread, const struct proxy_limits *limits,
			  struct ssl_ctx_st *tls); // @thread any
