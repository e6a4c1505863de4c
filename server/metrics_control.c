// Metrics of the control data: revisions, ages, the audit log, resources and tenants' limits.
//
// They are read at each scrape from the registry and the catalog, and need no traffic.

#include "server/metrics_tables.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "core/catalog/catalog.h"
#include "core/registry/audit.h"
#include "core/registry/operator_access.h"
#include "core/registry/registry.h"
#include "core/registry/scrub.h"
#include "server/daemon_state.h"

static void put_revisions(struct collector *collector)
{
	collector_put(collector, (double)registry_revision(collector->daemon->registry),
		      (const char *const[]){"registry"});
	collector_put(collector, (double)catalog_revision(collector->daemon->catalog),
		      (const char *const[]){"proxy"});
}

static void put_stored(struct collector *collector)
{
	collector_put_flat(collector, catalog_stored(collector->daemon->catalog));
}

static void put_age(struct collector *collector)
{
	collector_put_flat(collector,
			   (double)catalog_age_ns(collector->daemon->catalog, clock_now_ns()) /
				   1e9);
}

static void put_damaged(struct collector *collector)
{
	collector_put_flat(collector, registry_scrub_damaged(collector->daemon->registry));
}

static void put_audit_entries(struct collector *collector)
{
	char hash[REGISTRY_HASH_TEXT];

	collector_put_flat(collector,
			   (double)registry_audit_head(collector->daemon->registry, hash));
}

// As many digits as a number of the text format keeps.
static void put_audit_head(struct collector *collector)
{
	char hash[REGISTRY_HASH_TEXT];

	registry_audit_head(collector->daemon->registry, hash);
	hash[12] = '\0';
	collector_put_flat(collector, (double)strtoull(hash, NULL, 16));
}

static void put_glass(struct collector *collector)
{
	collector_put_flat(collector, (double)registry_operator_access_glass_broken(
					      collector->daemon->registry));
}

static void put_answer_age(struct collector *collector)
{
	uint64_t age_ns = portal_totals_age_ns(collector->portal);

	if (age_ns != UINT64_MAX)
		collector_put_flat(collector, (double)age_ns / 1e9);
}

static const char *const kind_names[MODEL_KIND_COUNT] = {
	[MODEL_TENANT] = "tenant", [MODEL_ACCESS_KEY] = "access_key", [MODEL_CLUSTER] = "cluster",
	[MODEL_TOPIC] = "topic",   [MODEL_GROUP] = "group",
};
static const char *const state_names[] = {
	[MODEL_CREATING] = "creating",
	[MODEL_READY] = "ready",
	[MODEL_DELETING] = "deleting",
	[MODEL_FAILED] = "failed",
};

struct state_counts {
	double counts[ARRAY_SIZE(state_names)];
};

static void count_state(void *ctx, const struct model_object *object)
{
	struct state_counts *counts = ctx;
	uint8_t state = MODEL_READY; // only topics and groups have another life

	if (object->kind == MODEL_TOPIC)
		state = ((const struct topic *)(const void *)object)->state;
	else if (object->kind == MODEL_GROUP)
		state = ((const struct group *)(const void *)object)->state;
	counts->counts[state] += 1;
}

static void put_resources(struct collector *collector)
{
	for (enum model_kind kind = 0; kind < MODEL_KIND_COUNT; ++kind) {
		bool lives = kind == MODEL_TOPIC || kind == MODEL_GROUP;
		struct state_counts counts = {0};

		catalog_each(collector->daemon->catalog, kind, count_state, &counts);
		for (size_t i = 0; i < ARRAY_SIZE(state_names); ++i)
			if (lives || i == MODEL_READY)
				collector_put(
					collector, counts.counts[i],
					(const char *const[]){kind_names[kind], state_names[i]});
	}
}

static void put_limit(struct collector *collector, const struct tenant *tenant,
		      const char *direction, const char *unit, uint64_t limit)
{
	if (limit != MODEL_UNLIMITED)
		collector_put(collector, (double)limit,
			      (const char *const[]){tenant->name, direction, unit});
}

static void put_limits_of(void *ctx, const struct model_object *object)
{
	const struct tenant *tenant = (const struct tenant *)(const void *)object;
	const struct tenant_limits *limits = &tenant->limits;

	put_limit(ctx, tenant, "produce", "messages", limits->produce_tps);
	put_limit(ctx, tenant, "produce", "bytes", limits->produce_bps);
	put_limit(ctx, tenant, "consume", "messages", limits->consume_tps);
	put_limit(ctx, tenant, "consume", "bytes", limits->consume_bps);
}

static void put_limits(struct collector *collector)
{
	catalog_each(collector->daemon->catalog, MODEL_TENANT, put_limits_of, collector);
}

static const struct metric_row rows[] = {
	{{"mqpaas_configuration_revision", METRIC_GAUGE, "", "held_by", false,
	  "revision of the control data: the registry's, and the one the proxy serves"},
	 put_revisions},
	{{"mqpaas_configuration_stored", METRIC_GAUGE, "", "", false,
	  "1: the proxy's last good copy on disk is the revision it serves"},
	 put_stored},
	{{"mqpaas_configuration_age_seconds", METRIC_GAUGE, "seconds", "", false,
	  "since the proxy last heard from the control plane"},
	 put_age},
	{{"mqpaas_registry_damaged", METRIC_GAUGE, "", "", false,
	  "1: the last look at the whole registry (a minute after the start, then once a day) "
	  "found "
	  "damage, or entries of the audit log missing"},
	 put_damaged},
	{{"mqpaas_break_glass_total", METRIC_COUNTER, "", "", false,
	  "how often an operator has set the password of a tenant's administrator by break-glass, "
	  "as the audit log says"},
	 put_glass},
	{{"mqpaas_audit_entries", METRIC_GAUGE, "", "", false,
	  "number of the newest entry of the audit log: it never falls"},
	 put_audit_entries},
	{{"mqpaas_audit_head", METRIC_GAUGE, "", "", false,
	  "first 12 hexadecimal digits of that entry's hash, as a number: what audit verify takes"},
	 put_audit_head},
	{{"mqpaas_proxy_answer_age_seconds", METRIC_GAUGE, "seconds", "", false,
	  "since the proxy last told its counters; absent before the first time"},
	 put_answer_age},
	{{"mqpaas_resources", METRIC_GAUGE, "", "kind,state", false,
	  "tenants, access keys, clusters, topics and groups there are, by their state"},
	 put_resources},
	{{"mqpaas_tenant_quota_limit", METRIC_GAUGE, "per second", "tenant,direction,unit", false,
	  "what a tenant may produce and consume a second; absent: no limit"},
	 put_limits},
};
const struct metric_table metrics_control = {rows, ARRAY_SIZE(rows)};
