// The routes of the REST interface: one table, from which routing, checks and the docs page come.
// The portal has a pointer to it; handlers reach it through that, so that they stay below it.
#pragma once

#include "portal-api/route.h"

extern const struct route routes[];
extern const size_t routes_count;
