// What tenants have stored, their limits and reserves, and the groups that wait for room.
//
// The values are the last that the proxies reported (portal-api/stored.c). Not here: measuring.

#include "core/catalog/catalog.h"
#include "server/daemon_state.h"
#include "server/metrics_tables.h"

// One metric of every tenant of which something was told.
struct use_put {
	struct collector *collector;
	double (*value)(const struct stored_use *use);
};

static void put_use_of(void *ctx, const struct stored_use *use)
{
	const struct use_put *one = ctx;
	char *tenant =
		collector_name(one->collector->daemon->registry, REGISTRY_TENANT, use->tenant);

	if (tenant)
		collector_put(one->collector, one->value(use), (const char *const[]){tenant});
	free(tenant);
}

#define USE_METRIC(member)                                                                         \
	static double use_##member(const struct stored_use *use)                                   \
	{                                                                                          \
		return (double)use->member;                                                        \
	}                                                                                          \
	static void put_##member(struct collector *collector)                                      \
	{                                                                                          \
		struct use_put one = {collector, use_##member};                                    \
                                                                                                   \
		portal_each_stored(collector->portal, put_use_of, &one);                           \
	}
USE_METRIC(bytes)
USE_METRIC(estimated)
USE_METRIC(reserve)
USE_METRIC(reserve_used)
#undef USE_METRIC

static void put_limit_of(void *ctx, const struct model_object *object)
{
	const struct tenant *tenant = (const struct tenant *)(const void *)object;

	if (tenant->limits.storage_bytes != MODEL_UNLIMITED)
		collector_put(ctx, (double)tenant->limits.storage_bytes,
			      (const char *const[]){tenant->name});
}

static void put_limits(struct collector *collector)
{
	catalog_each(collector->daemon->catalog, MODEL_TENANT, put_limit_of, collector);
}

static void put_wait_of(void *ctx, const struct stored_wait *wait)
{
	struct collector *collector = ctx;
	struct registry *registry = collector->daemon->registry;
	char *tenant = collector_name(registry, REGISTRY_TENANT, wait->tenant),
	     *group = collector_name(registry, REGISTRY_GROUP, wait->group);

	if (tenant && group)
		collector_put(collector, 1, (const char *const[]){tenant, group, wait->what});
	free(tenant);
	free(group);
}

static void put_waits(struct collector *collector)
{
	portal_each_stored_wait(collector->portal, put_wait_of, collector);
}

static const struct metric_row rows[] = {
	{{"mqpaas_tenant_storage_used_bytes", METRIC_GAUGE, "bytes", "tenant", false,
	  "what its messages, dead letters and retries take on all clusters; absent while it is "
	  "nothing and there is no limit"},
	 put_bytes},
	{{"mqpaas_tenant_storage_limit_bytes", METRIC_GAUGE, "bytes", "tenant", false,
	  "what it may store; absent: no limit"},
	 put_limits},
	{{"mqpaas_tenant_storage_estimated", METRIC_GAUGE, "", "tenant", false,
	  "1: some of what it has stored is an estimate"},
	 put_estimated},
	{{"mqpaas_tenant_storage_reserve_bytes", METRIC_GAUGE, "bytes", "tenant", false,
	  "room beyond the limit for dead letters and retries; 0 without a limit"},
	 put_reserve},
	{{"mqpaas_tenant_storage_reserve_used_bytes", METRIC_GAUGE, "bytes", "tenant", false,
	  "of this room, what is in use"},
	 put_reserve_used},
	{{"mqpaas_group_storage_waiting", METRIC_GAUGE, "", "tenant,group,what", false,
	  "1 for a group whose dead letters (dead_letter) or retries (retry) find no room in its "
	  "tenant's reserve; absent for the others"},
	 put_waits},
};
const struct metric_table metrics_storage = {rows, ARRAY_SIZE(rows)};
