// A tenant as one worker sees it: limits, quota, counters.
//
// Made when it is first needed here, and kept as long as the worker lives, because its counters
// count since the start.
#pragma once

#include "core/base/map.h"
#include "proxy/resource/budget.h"
#include "proxy/resource/storage.h"
#include "quota/quota.h"

struct tenant_clients;
struct worker;

struct produce_counters {
	uint64_t messages, bytes;                  // offered
	uint64_t stored_bytes;                     // of those that are ok
	uint64_t ok, rejected, throttled, unknown; // how they ended
	uint64_t dropped;                          // of these, in oneway frames and not OK
};

struct consume_counters {
	uint64_t messages, bytes; // handed to connections
	uint64_t redelivered, acked, nacked, rejected, released, timeouts, lost, dead;
};

void tenant_add_consumed(struct consume_counters *to, const struct consume_counters *more);

struct tenant_view {
	struct map_node node; // member of worker->tenants, by tenant id
	struct worker *worker;
	const struct tenant *model; // NULL: deleted
	struct quota_ledger *ledger;
	struct storage_tenant *storage;
	struct budget_share *memory;    // of all workers
	struct tenant_clients *clients; // client/tenant_clients.h; NULL: it has never had any here
	uint32_t conn_count;
	struct produce_counters produced;
	struct consume_counters consumed;
};

struct tenant_view *tenant_get(struct worker *worker,
			       uint64_t id);        // NULL: out of memory, or never existed
bool tenant_conn_joins(struct tenant_view *tenant); // false: at its limit
void tenant_conn_left(struct tenant_view *tenant);
struct tenant_view *tenant_find(const struct worker *worker, uint64_t id); // NULL: not seen here
void tenant_changed(struct worker *worker, uint64_t id); // after a change of the catalog
void tenants_deinit(struct worker *worker);
