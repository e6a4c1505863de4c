// Counts that go on across restarts, and rates computed from samples of them. No clock, no sockets:
// time is an argument.
#pragma once

#include "core/registry/registry.h"
#include "portal-api/series.h"

#include <jansson.h>

struct catalog;
struct counters;
struct stored;

// `catalog` tells which tenant a topic or group belongs to. Reads the saved totals, and from
// `data_dir` what they have become since.
int counters_new(struct registry *registry, struct catalog *catalog, const char *data_dir,
		 struct counters **ret);
void counters_free(struct counters *counters);

// Takes an answer of QUERY_TOTALS; NULL: the proxies did not answer.
void counters_take(struct counters *counters, const json_t *totals, uint64_t now_ns,
		   int64_t wall_ms);
uint64_t counters_age_ns(const struct counters *counters,
			 uint64_t now_ns); // UINT64_MAX: never sampled

// Writes what has changed to the registry, in one transaction.
int counters_save(struct counters *counters);

// Every row of a kind; `tenant` owns it, or is it.
typedef void (*counters_row_fn)(void *ctx, uint64_t id, uint64_t tenant, uint64_t connections,
				const uint64_t totals[SERIES_COUNTERS]);
void counters_each(const struct counters *counters, enum registry_kind kind, counters_row_fn fn,
		   void *ctx);

// What the tenants have stored.
const struct stored *counters_stored(const struct counters *counters);

// The bodies of the statistics routes; NULL: no memory.
json_t *counters_of_resource(struct counters *counters, enum registry_kind kind, uint64_t id);
json_t *counters_of_tenant(struct counters *counters, uint64_t id,
			   const struct tenant_limits *limits);
json_t *counters_of_platform(struct counters *counters);
