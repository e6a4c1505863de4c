// Accepting: one listening descriptor a worker and address, all bound with SO_REUSEPORT.
#pragma once

#include "proxy/proxy_state.h"

struct listener {
	struct worker *worker;
	struct loop_io io;
	struct loop_timer pause; // after the descriptors have run out
	int fd;
};

// Binds an address for `workers` loops. A first try without SO_REUSEPORT finds out whether somebody
// else has the port: with it a second daemon would get half of the clients. -EADDRINUSE, …;
// *ret_error: malloc'ed sentence.
int listener_bind(struct proxy_listener *listener, const struct proxy_listener_config *config,
		  unsigned workers, char **ret_error);
void listener_unbind(struct proxy_listener *listener);

int listeners_open(struct worker *worker);
void listeners_close(struct worker *worker);
