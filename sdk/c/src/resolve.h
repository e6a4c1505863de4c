// Names to socket addresses without holding up the I/O thread.
#pragma once

#include <netdb.h>

struct mqp_client;
struct resolve;

// Runs on the I/O thread. `infos` belongs to the receiver (freeaddrinfo); NULL: `problem` says why.
typedef void (*resolve_fn)(void *ctx, struct addrinfo *infos, const char *problem);

// Numeric hosts are answered inside the call (*ret_resolve is then NULL); names by a thread of
// their own. -errno: it could not be started.
int resolve_start(struct mqp_client *client, const char *host, const char *port, resolve_fn done,
		  void *ctx, struct resolve **ret_resolve);
void resolve_abandon(struct resolve *resolve); // `done` is not called any more; accepts NULL
