// Totals: counters that survive restarts, saved about once a minute.
#pragma once

#include "core/registry/registry.h"

// Replaces the counters of one object; they go with it. `counters` is an object of integers.
struct registry_total {
	enum registry_kind kind;
	uint64_t id;
	const json_t *counters;
};
int registry_totals_save(struct registry *registry, const struct registry_total *totals,
			 size_t count); // in one transaction
int registry_totals_load(struct registry *registry,
			 void (*fn)(void *ctx, const struct registry_total *total), void *ctx);
