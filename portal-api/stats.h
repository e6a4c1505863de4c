// Counts that go on across restarts, and rates computed from samples of them. No clock, no sockets:
// time is an argument.
#pragma once

#include "core/registry/registry.h"
#include "portal-api/series.h"

#include <jansson.h>

struct catalog;
struct stats;
struct stored;

// `catalog` tells which tenant a topic or group belongs to. Reads the saved totals, and from
// `data_dir` what they have become since.
int stats_new(struct registry *registry, struct catalog *catalog, const char *data_dir,
	      struct stats **ret);
void stats_free(struct stats *stats);

// Takes an answer of QUERY_TOTALS; NULL: the proxies did not answer.
void stats_take(struct stats *stats, const json_t *totals, uint64_t now_ns, int64_t wall_ms);
uint64_t stats_age_ns(const struct stats *stats, uint64_t now_ns); // UINT64_MAX: never sampled

// Writes what has changed to the registry, in one transaction.
int stats_save(struct stats *stats);

// Every row of a kind; `tenant` owns it, or is it.
typedef void (*stats_row_fn)(void *ctx, uint64_t id, uint64_t tenant, uint64_t connections,
			     const uint64_t totals[SERIES_COUNTERS]);
void stats_each(const struct stats *stats, enum registry_kind kind, stats_row_fn fn, void *ctx);

// What the tenants have stored.
const struct stored *stats_stored(const struct stats *stats);

// The bodies of the statistics routes; NULL: no memory.
json_t *stats_of(struct stats *stats, enum registry_kind kind, uint64_t id);
json_t *stats_of_tenant(struct stats *stats, uint64_t id, const struct tenant_limits *limits);
json_t *stats_of_platform(struct stats *stats);
