// What the parts of the proxy share.
#pragma once

#include "core/model/network.h"
#include "proxy/probe/probes.h"
#include "proxy/resource/shared.h"
#include "proxy/worker.h"

struct proxy_listener {
	char *address;       // as bound
	char *advertised;    // what clients are told
	int fds[WORKER_MAX]; // one a worker, listening; -1: none
};

struct proxy {
	struct query_channel queries; // first: found again from it
	char *proxy_id, *server_version, *data_dir;
	uint8_t salt_secret[32];
	uint64_t started_ns;
	struct probes probes; // of the first worker
	struct shared shared;
	struct network *balancers; // whose connections begin with a PROXY header
	size_t balancer_count;
	struct worker *workers[WORKER_MAX];
	unsigned worker_count;
	struct proxy_listener *listeners;
	size_t listener_count;
	bool started; // atomic: changes of the catalog are passed to the workers

	uint32_t unleft, undrained; // atomic: workers with connections, with open groups
	void (*drained)(void *ctx);
	void *drained_ctx;
};

struct worker *proxy_home(struct proxy *proxy, uint64_t group); // the worker that is its home
void proxy_worker_left(struct proxy *proxy);                    // the same
void proxy_worker_drained(struct proxy *proxy);                 // @thread of a worker, once each
