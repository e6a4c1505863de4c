// The client that a balancer speaks for, by the header in which it names it.
#pragma once

#include "core/model/network.h"

#include <arpa/inet.h>

// The rightmost address of a list ("203.0.113.7, 10.0.0.2") that is not itself of a trusted block:
// the client could have written what stands left of it. Ports may follow. False: there is none.
bool forwarded_client(const char *list, const struct network *trusted, size_t count,
		      char ret[INET6_ADDRSTRLEN]);
