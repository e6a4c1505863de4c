// The settle slot of adapter.h, for backends that are logs.
#pragma once

#include "adapters/log/log.h"

void log_source_settle(struct source *source, struct settle *settles, size_t count,
		       void (*done)(void *ctx, enum code code), void *ctx);
