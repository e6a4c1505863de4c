// Accepting: one listening descriptor a worker and address, all bound with SO_REUSEPORT.
#pragma once

#include "core/loop/loop.h"
#include "proxy/base/worker.h"

struct proxy_listener_config;

// An address of the proxy.
struct bound_listener {
	char *address;       // as bound
	char *advertised;    // what clients are told
	int fds[WORKER_MAX]; // one a worker, listening; -1: none
};

struct listener {
	struct worker *worker;
	struct loop_io io;
	struct loop_timer pause; // after the descriptors have run out
	int fd;
};

// A worker's: one for each address.
struct listeners {
	struct listener *rows;
	size_t count;
};

// Binds an address for `workers` loops. A first try without SO_REUSEPORT finds out whether another
// process has the port: with it a second daemon would get half of the clients. -EADDRINUSE, …;
// *ret_error: malloc'ed sentence.
int listener_bind(struct bound_listener *bound, const struct proxy_listener_config *config,
		  unsigned workers, char **ret_error);
void listener_unbind(struct bound_listener *bound);

// Takes the worker's descriptors over.
int listeners_open(struct listeners *listeners, struct worker *worker, struct bound_listener *bound,
		   size_t count);
void listeners_close(struct listeners *listeners);
