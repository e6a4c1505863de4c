// The state of clusters: connection, circuit and latency as the proxies reported them, and the
// stores on our own disks.
//
// None of these values needs traffic. The store's counters are read from the proxy of this process;
// without one they are absent.

#include "server/metrics_tables.h"

#include "core/base/util.h"
#include "core/catalog/catalog.h"
#include "server/daemon_state.h"
#include "server/metrics_clusters.h"

void metrics_clusters_each(struct collector *collector,
			   void (*fn)(struct collector *collector, const char *name,
				      const json_t *row))
{
	const json_t *row;
	size_t i;

	json_array_foreach(portal_cluster_states(collector->portal), i, row)
	{
		char *name =
			collector_name(collector->daemon->registry, REGISTRY_CLUSTER,
				       (uint64_t)json_integer_value(json_object_get(row, "id")));

		if (name)
			fn(collector, name, row);
		free(name);
	}
}

// 1 for the state it has, 0 for each other, so that a rule can ask for one of them.
static void put_one_of(struct collector *collector, const char *name, const char *now,
		       const char *const *states, size_t count)
{
	for (size_t i = 0; now && i < count; ++i)
		collector_put(collector, strcmp(states[i], now) == 0,
			      (const char *const[]){name, states[i]});
}

static void put_state(struct collector *collector, const char *name, const json_t *row)
{
	static const char *const states[] = {"connecting", "ready", "degraded", "down"};

	put_one_of(collector, name, json_string_value(json_object_get(row, "state")), states,
		   ARRAY_SIZE(states));
}

static void put_states(struct collector *collector)
{
	metrics_clusters_each(collector, put_state);
}

static void put_circuit(struct collector *collector, const char *name, const json_t *row)
{
	static const char *const states[] = {"closed", "half_open", "open"};

	put_one_of(collector, name, json_string_value(json_object_get(row, "circuit")), states,
		   ARRAY_SIZE(states));
}

static void put_circuits(struct collector *collector)
{
	metrics_clusters_each(collector, put_circuit);
}

static void put_latency(struct collector *collector, const char *name, const json_t *row)
{
	const json_t *latency = json_object_get(row, "latency_us");

	if (json_is_integer(latency))
		collector_put(collector, (double)json_integer_value(latency) / 1e6,
			      (const char *const[]){name});
}

static void put_latencies(struct collector *collector)
{
	metrics_clusters_each(collector, put_latency);
}

static void put_store(struct collector *collector, const char *name, const json_t *row)
{
	const json_t *store = json_object_get(row, "store");

	if (!store)
		return;
	collector_put(collector, json_number_value(json_object_get(store, "used_bytes")),
		      (const char *const[]){name, "used"});
	collector_put(collector, json_number_value(json_object_get(store, "left_bytes")),
		      (const char *const[]){name, "left"});
}

static void put_stores(struct collector *collector)
{
	metrics_clusters_each(collector, put_store);
}

// ---- clusters with a store of our own

struct store_collector {
	struct collector *collector;
	double (*value)(const struct adapter_state *state);
};

static void put_store_of(void *ctx, const struct model_object *object)
{
	const struct cluster *cluster = (const struct cluster *)(const void *)object;
	struct store_collector *stores = ctx;
	struct proxy *proxy = stores->collector->daemon->proxy;
	struct adapter_state state = {0};
	uint32_t capabilities;

	if (proxy && proxy_cluster_state(proxy, cluster->object.id, &state, &capabilities) &&
	    state.has_store)
		collector_put(stores->collector, stores->value(&state),
			      (const char *const[]){cluster->name});
}

#define STORE_METRIC(member)                                                                       \
	static double store_##member(const struct adapter_state *state)                            \
	{                                                                                          \
		return (double)state->member;                                                      \
	}                                                                                          \
	static void put_##member(struct collector *collector)                                      \
	{                                                                                          \
		struct store_collector stores = {collector, store_##member};                       \
                                                                                                   \
		catalog_each(collector->daemon->catalog, MODEL_CLUSTER, put_store_of, &stores);    \
	}
STORE_METRIC(damaged_total)
STORE_METRIC(damaged_open)
STORE_METRIC(scrub_progress)
STORE_METRIC(scrub_passes)
STORE_METRIC(scrub_bytes)
#undef STORE_METRIC

static const struct metric_row rows[] = {
	{{"mqpaas_cluster_state", METRIC_GAUGE, "", "cluster,state", false,
	  "1 for the state a cluster is in (connecting, ready, degraded, down), 0 for the others"},
	 put_states},
	{{"mqpaas_cluster_circuit", METRIC_GAUGE, "", "cluster,circuit", false,
	  "1 for how its circuit is (closed, half_open, open), 0 for the others"},
	 put_circuits},
	{{"mqpaas_cluster_latency_seconds", METRIC_GAUGE, "seconds", "cluster", false,
	  "of its last answers; absent where it is not measured"},
	 put_latencies},
	{{"mqpaas_cluster_store_bytes", METRIC_GAUGE, "bytes", "cluster,part", false,
	  "of a store on a disk of ours: used by its files, and left to them (the least of map "
	  "and disk)"},
	 put_stores},
	{{"mqpaas_store_damaged_total", METRIC_COUNTER, "", "cluster", false,
	  "ranges, positions and rows that were found damaged or missing in an embedded store"},
	 put_damaged_total},
	{{"mqpaas_store_damaged", METRIC_GAUGE, "", "cluster", false,
	  "of these and earlier ones, those that no operator has dealt with"},
	 put_damaged_open},
	{{"mqpaas_store_scrub_progress_ratio", METRIC_GAUGE, "", "cluster", false,
	  "part of the store that the scrub's current pass has read, 0 to 1"},
	 put_scrub_progress},
	{{"mqpaas_store_scrub_passes_total", METRIC_COUNTER, "", "cluster", false,
	  "passes that the scrub has finished"},
	 put_scrub_passes},
	{{"mqpaas_store_scrub_bytes_total", METRIC_COUNTER, "bytes", "cluster", false,
	  "what the scrub has read"},
	 put_scrub_bytes},
};
const struct metric_table metrics_clusters = {rows, ARRAY_SIZE(rows)};
