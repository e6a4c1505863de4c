// What other routes need to know about clusters.
#pragma once

#include "portal-api/call.h"

#define CLUSTERS_KIND_UNKNOWN "this kind of cluster cannot be registered"

// Only kinds that this daemon was built with can be registered: adds a fault at `field` for
// another.
bool clusters_check_kind(struct call *call, const json_t *cluster, const char *field,
			 json_t *errors);
