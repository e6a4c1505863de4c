// A proxy in the test's own process, over a backend in memory: one tenant and its key, a topic "t"
// of two partitions and a group "g" on it.
//
// The objects may be changed and put again, as a registry would. One at a time in a process. What
// fails stops the program.
#pragma once

#include "core/model/model.h"
#include "proxy/base/limits.h"

#define MEMORY_PROXY_KEY    "user"
#define MEMORY_PROXY_SECRET "pencil"

extern struct memory_proxy {
	struct proxy *proxy;
	struct proxy_limits limits; // of the next start; memory_proxy_open() sets the defaults
	const char *address;        // "127.0.0.1:43567" while it runs
	struct cluster cluster;
	struct topic topic;
	struct group group;
} memory_proxy;

void memory_proxy_open(void);  // what it knows, and its folder
void memory_proxy_start(void); // two workers
void memory_proxy_stop(void);  // drained: nothing of a client is left, clusters are closed
void memory_proxy_close(void);

// A change of the registry: the object as it is now, or that it is gone.
void memory_proxy_put(enum model_kind kind, const void *draft);
void memory_proxy_gone(enum model_kind kind, uint64_t id);
