// Two tables: what is said of the process and the control data, each with a function of its own;
// and the counters of tenants, topics and groups, which are all read the same way.
//
// The counters are the portal's, so they go on across restarts of the proxy. What says how things
// are now needs no traffic to be there: states of clusters, backlogs, certificates.

#include "server/metrics.h"

#include "core/base/clock.h"
#include "core/base/latency_bounds.h"
#include "core/base/metrics.h"
#include "core/base/util.h"
#include "core/registry/catalog.h"
#include "core/registry/registry.h"
#include "core/registry/scrub.h"
#include "server/daemon_state.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/resource.h>

struct collector {
	const struct daemon *daemon;
	const struct portal *portal;
	struct metrics_text out;
	const struct metric *metric; // that is being written
};

static void put(struct collector *collector, double value, const char *const *labels)
{
	metrics_value(&collector->out, collector->metric, value, labels);
}

static void put_flat(struct collector *collector, double value)
{
	put(collector, value, NULL);
}

// ---- the process

static void put_build(struct collector *collector)
{
	put(collector, 1, (const char *const[]){VERSION});
}

// Field 22 of /proc/self/stat counts from the start of the machine.
static void put_start(struct collector *collector)
{
	double up_s = 0, began_s = 0;
	FILE *file = fopen("/proc/self/stat", "re");

	if (file && fscanf(file,
			   "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d "
			   "%*d %*d %*d %*d %*d %lf",
			   &began_s) == 1)
		began_s /= (double)sysconf(_SC_CLK_TCK);
	if (file)
		fclose(file);
	file = fopen("/proc/uptime", "re");
	if (file && fscanf(file, "%lf", &up_s) == 1)
		put_flat(collector, (double)clock_wall_ms() / 1e3 - up_s + began_s);
	if (file)
		fclose(file);
}

static double seconds_of(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static void put_cpu(struct collector *collector)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) == 0)
		put_flat(collector, seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime));
}

static void put_resident(struct collector *collector)
{
	FILE *file = fopen("/proc/self/statm", "re");
	double pages;

	if (file && fscanf(file, "%*u %lf", &pages) == 1)
		put_flat(collector, pages * (double)sysconf(_SC_PAGESIZE));
	if (file)
		fclose(file);
}

static void put_open_fds(struct collector *collector)
{
	DIR *directory = opendir("/proc/self/fd");
	double count = -3; // ".", ".." and the directory itself

	if (!directory)
		return;
	while (readdir(directory))
		++count;
	closedir(directory);
	put_flat(collector, count);
}

static void put_max_fds(struct collector *collector)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		put_flat(collector, (double)limit.rlim_cur);
}

static void put_message_memory(struct collector *collector)
{
	uint64_t limit, used;

	if (!collector->daemon->proxy)
		return;
	used = proxy_message_memory(collector->daemon->proxy, &limit);
	put(collector, (double)used, (const char *const[]){"used"});
	put(collector, (double)limit, (const char *const[]){"limit"});
}

// ---- control data

static void put_revisions(struct collector *collector)
{
	put(collector, (double)registry_revision(collector->daemon->registry),
	    (const char *const[]){"registry"});
	put(collector, (double)catalog_revision(collector->daemon->catalog),
	    (const char *const[]){"proxy"});
}

static void put_stored(struct collector *collector)
{
	put_flat(collector, catalog_stored(collector->daemon->catalog));
}

static void put_age(struct collector *collector)
{
	put_flat(collector,
		 (double)catalog_age_ns(collector->daemon->catalog, clock_now_ns()) / 1e9);
}

static void put_damaged(struct collector *collector)
{
	put_flat(collector, registry_damaged(collector->daemon->registry));
}

static void put_audit_entries(struct collector *collector)
{
	char hash[REGISTRY_HASH_TEXT];

	put_flat(collector, (double)registry_audit_head(collector->daemon->registry, hash));
}

// As many digits as a number of the text format keeps.
static void put_audit_head(struct collector *collector)
{
	char hash[REGISTRY_HASH_TEXT];

	registry_audit_head(collector->daemon->registry, hash);
	hash[12] = '\0';
	put_flat(collector, (double)strtoull(hash, NULL, 16));
}

static void put_answer_age(struct collector *collector)
{
	uint64_t age_ns = portal_totals_age_ns(collector->portal);

	if (age_ns != UINT64_MAX)
		put_flat(collector, (double)age_ns / 1e9);
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
				put(collector, counts.counts[i],
				    (const char *const[]){kind_names[kind], state_names[i]});
	}
}

static void put_limit(struct collector *collector, const struct tenant *tenant,
		      const char *direction, const char *unit, uint64_t limit)
{
	if (limit != MODEL_UNLIMITED)
		put(collector, (double)limit, (const char *const[]){tenant->name, direction, unit});
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
		put(stores->collector, stores->value(&state), (const char *const[]){cluster->name});
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

// ---- tenants, topics, groups

struct part {
	const char *label; // value of the last label; NULL: there is none
	enum series_counter counter;
};

struct family {
	struct metric metric;
	enum registry_kind kind;
	struct part parts[4];
};

#define PRODUCE_FAMILIES(kind, scope, labels, detailed)                                            \
	{{"mqpaas_" scope "_offered_messages_total", METRIC_COUNTER, "messages", labels, detailed, \
	  "messages that producers sent, each try, whatever became of them"},                      \
	 kind,                                                                                     \
	 {{NULL, SERIES_SENT}}},                                                                   \
		{{"mqpaas_" scope "_offered_bytes_total", METRIC_COUNTER, "bytes", labels,         \
		  detailed, "size of these messages as records"},                                  \
		 kind,                                                                             \
		 {{NULL, SERIES_SENT_BYTES}}},                                                     \
		{{"mqpaas_" scope "_stored_messages_total", METRIC_COUNTER, "messages", labels,    \
		  detailed, "messages that the backend acknowledged: what a quota is used by"},    \
		 kind,                                                                             \
		 {{NULL, SERIES_STORED}}},                                                         \
		{{"mqpaas_" scope "_stored_bytes_total", METRIC_COUNTER, "bytes", labels,          \
		  detailed, "size of these messages as records"},                                  \
		 kind,                                                                             \
		 {{NULL, SERIES_STORED_BYTES}}},                                                   \
		{{"mqpaas_" scope "_produce_outcomes_total", METRIC_COUNTER, "messages",           \
		  labels ",outcome", detailed,                                                     \
		  "how sends ended: ok (acknowledged by the backend), rejected (certainly not "    \
		  "stored), unknown (perhaps stored), throttled (over the quota)"},                \
		 kind,                                                                             \
		 {{"ok", SERIES_STORED},                                                           \
		  {"rejected", SERIES_SEND_REJECTED},                                              \
		  {"unknown", SERIES_SEND_UNKNOWN},                                                \
		  {"throttled", SERIES_THROTTLED}}},                                               \
	{                                                                                          \
		{"mqpaas_" scope "_produce_dropped_total",                                         \
		 METRIC_COUNTER,                                                                   \
		 "messages",                                                                       \
		 labels,                                                                           \
		 detailed,                                                                         \
		 "of these, sent oneway and not ok: their senders were not told"},                 \
			kind,                                                                      \
		{                                                                                  \
			{                                                                          \
				NULL, SERIES_DROPPED                                               \
			}                                                                          \
		}                                                                                  \
	}

#define CONSUME_FAMILIES(kind, scope, labels, detailed)                                            \
	{{"mqpaas_" scope "_delivered_messages_total", METRIC_COUNTER, "messages", labels,         \
	  detailed, "messages handed to consumers, redeliveries too"},                             \
	 kind,                                                                                     \
	 {{NULL, SERIES_DELIVERED}}},                                                              \
		{{"mqpaas_" scope "_delivered_bytes_total", METRIC_COUNTER, "bytes", labels,       \
		  detailed, "size of these messages as records"},                                  \
		 kind,                                                                             \
		 {{NULL, SERIES_DELIVERED_BYTES}}},                                                \
		{{"mqpaas_" scope "_settled_messages_total", METRIC_COUNTER, "messages",           \
		  labels ",how", detailed,                                                         \
		  "how deliveries ended: by the consumer (ack, nack, reject) or by the "           \
		  "visibility timeout (timeout)"},                                                 \
		 kind,                                                                             \
		 {{"ack", SERIES_ACKED},                                                           \
		  {"nack", SERIES_NACKED},                                                         \
		  {"reject", SERIES_REJECTED},                                                     \
		  {"timeout", SERIES_TIMEOUTS}}},                                                  \
	{                                                                                          \
		{"mqpaas_" scope "_dead_messages_total",                                           \
		 METRIC_COUNTER,                                                                   \
		 "messages",                                                                       \
		 labels,                                                                           \
		 detailed,                                                                         \
		 "messages moved to the dead letters"},                                            \
			kind,                                                                      \
		{                                                                                  \
			{                                                                          \
				NULL, SERIES_DEAD                                                  \
			}                                                                          \
		}                                                                                  \
	}

static const struct family families[] = {
	PRODUCE_FAMILIES(REGISTRY_TENANT, "tenant", "tenant", false),
	CONSUME_FAMILIES(REGISTRY_TENANT, "tenant", "tenant", false),
	PRODUCE_FAMILIES(REGISTRY_TOPIC, "topic", "tenant,topic", true),
	CONSUME_FAMILIES(REGISTRY_GROUP, "group", "tenant,group", true),
};

// The rows of one kind with their names, gathered once for all its families.
struct row {
	char *tenant, *name;
	uint64_t connections, totals[SERIES_COUNTERS];
};

struct rows {
	struct registry *registry;
	enum registry_kind kind;
	struct row *items;
	size_t count, room;
	bool failed;
};

static bool rows_grow(struct rows *rows)
{
	size_t room = MAX(64, 2 * rows->room);
	struct row *items;

	if (rows->count < rows->room)
		return true;
	items = realloc(rows->items, room * sizeof *items);
	if (!items)
		return false;
	rows->items = items;
	rows->room = room;
	return true;
}

// registry_name() keeps one name at a time.
static char *name_copy(struct registry *registry, enum registry_kind kind, uint64_t id)
{
	const char *name = registry_name(registry, kind, id);

	return name ? strdup(name) : NULL;
}

static void rows_add(void *ctx, uint64_t id, uint64_t tenant, uint64_t connections,
		     const uint64_t totals[SERIES_COUNTERS])
{
	struct rows *rows = ctx;
	struct row *row;

	if (!rows_grow(rows)) {
		rows->failed = true;
		return;
	}
	row = &rows->items[rows->count];
	*row = (struct row){.connections = connections};
	memcpy(row->totals, totals, sizeof row->totals);
	row->tenant = name_copy(rows->registry, REGISTRY_TENANT, tenant);
	row->name = name_copy(rows->registry, rows->kind, id);
	rows->count += row->tenant && row->name; // else it was deleted since
	if (!row->tenant || !row->name) {
		free(row->tenant);
		free(row->name);
	}
}

static int rows_collect(const struct collector *collector, enum registry_kind kind,
			struct rows *ret)
{
	*ret = (struct rows){.registry = collector->daemon->registry, .kind = kind};
	portal_each_total(collector->portal, kind, rows_add, ret);
	return ret->failed ? -ENOMEM : 0;
}

static void rows_free(struct rows *rows)
{
	for (size_t i = 0; i < rows->count; ++i) {
		free(rows->items[i].tenant);
		free(rows->items[i].name);
	}
	free(rows->items);
}

static void put_family(struct collector *collector, const struct family *family,
		       const struct rows *rows)
{
	collector->metric = &family->metric;
	metrics_begin(&collector->out, &family->metric);
	for (size_t i = 0; i < rows->count; ++i) {
		const struct row *row = &rows->items[i];
		const char *labels[METRIC_LABELS_MAX] = {row->tenant};
		size_t at = 1;

		if (rows->kind != REGISTRY_TENANT)
			labels[at++] = row->name;
		for (size_t j = 0; j < ARRAY_SIZE(family->parts); ++j) {
			const struct part *part = &family->parts[j];

			if (j > 0 && !part->label)
				break;
			labels[at] = part->label;
			put(collector, (double)row->totals[part->counter], labels);
		}
	}
}

static int put_families(struct collector *collector, enum registry_kind kind)
{
	struct rows rows;
	int r = rows_collect(collector, kind, &rows);

	for (size_t i = 0; i < ARRAY_SIZE(families) && r == 0; ++i)
		if (families[i].kind == kind)
			put_family(collector, &families[i], &rows);
	rows_free(&rows);
	return r;
}

static void put_connections(struct collector *collector)
{
	struct rows rows;

	if (rows_collect(collector, REGISTRY_TENANT, &rows) == 0)
		for (size_t i = 0; i < rows.count; ++i)
			put(collector, (double)rows.items[i].connections,
			    (const char *const[]){rows.items[i].tenant});
	else
		collector->out.failed = true;
	rows_free(&rows);
}

// ---- clusters

// Called for each cluster that a proxy has told of.
typedef void (*cluster_fn)(struct collector *collector, const char *name, const json_t *row);

static void each_cluster(struct collector *collector, cluster_fn fn)
{
	const json_t *row;
	size_t i;

	json_array_foreach(portal_cluster_states(collector->portal), i, row)
	{
		char *name = name_copy(collector->daemon->registry, REGISTRY_CLUSTER,
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
		put(collector, strcmp(states[i], now) == 0, (const char *const[]){name, states[i]});
}

static void put_state(struct collector *collector, const char *name, const json_t *row)
{
	static const char *const states[] = {"connecting", "ready", "degraded", "down"};

	put_one_of(collector, name, json_string_value(json_object_get(row, "state")), states,
		   ARRAY_SIZE(states));
}

static void put_states(struct collector *collector)
{
	each_cluster(collector, put_state);
}

static void put_circuit(struct collector *collector, const char *name, const json_t *row)
{
	static const char *const states[] = {"closed", "half_open", "open"};

	put_one_of(collector, name, json_string_value(json_object_get(row, "circuit")), states,
		   ARRAY_SIZE(states));
}

static void put_circuits(struct collector *collector)
{
	each_cluster(collector, put_circuit);
}

static void put_latency(struct collector *collector, const char *name, const json_t *row)
{
	const json_t *latency = json_object_get(row, "latency_us");

	if (json_is_integer(latency))
		put(collector, (double)json_integer_value(latency) / 1e6,
		    (const char *const[]){name});
}

static void put_latencies(struct collector *collector)
{
	each_cluster(collector, put_latency);
}

static void put_store(struct collector *collector, const char *name, const json_t *row)
{
	const json_t *store = json_object_get(row, "store");

	if (!store)
		return;
	put(collector, json_number_value(json_object_get(store, "used_bytes")),
	    (const char *const[]){name, "used"});
	put(collector, json_number_value(json_object_get(store, "left_bytes")),
	    (const char *const[]){name, "left"});
}

static void put_stores(struct collector *collector)
{
	each_cluster(collector, put_store);
}

// ---- latencies of messages

static void put_histogram(struct collector *collector, const char *what, const json_t *told)
{
	uint64_t counts[LATENCY_BOUNDS + 1] = {0};
	struct metrics_histogram histogram = {
		.bounds_us = latency_bounds_us,
		.counts = counts,
		.count = LATENCY_BOUNDS,
		.sum_us = (uint64_t)json_integer_value(json_object_get(told, "sum_us"))};

	for (size_t i = 0; i <= LATENCY_BOUNDS; ++i)
		counts[i] = (uint64_t)json_integer_value(
			json_array_get(json_object_get(told, "counts"), i));
	metrics_histogram(&collector->out, collector->metric, &histogram,
			  (const char *const[]){what});
}

static void put_histograms(struct collector *collector)
{
	const char *what;
	json_t *told;

	json_object_foreach((json_t *)(uintptr_t)portal_latencies(collector->portal), what, told)
		put_histogram(collector, what, told);
}

// ---- backlogs

// Where the messages of a group are, the backlog first.
static const struct group_state {
	const char *name;
	size_t at; // in struct backlog_row
} group_states[] = {
	{"ready", offsetof(struct backlog_row, ready)},
	{"in_flight", offsetof(struct backlog_row, in_flight)},
	{"retrying", offsetof(struct backlog_row, retrying)},
	{"delayed", offsetof(struct backlog_row, delayed)},
	{"sent", offsetof(struct backlog_row, sent)},
	{"replayed", offsetof(struct backlog_row, replayed)},
	{"acked", offsetof(struct backlog_row, acked)},
	{"dead", offsetof(struct backlog_row, dead)},
	{"expired", offsetof(struct backlog_row, expired)},
	{"skipped", offsetof(struct backlog_row, skipped)},
};

#define GROUP_STATES   ARRAY_SIZE(group_states)
#define BACKLOG_STATES 4u // of them

static double state_count(const struct backlog_row *row, size_t state)
{
	return (double)*(const uint64_t *)(const void *)((const char *)row +
							 group_states[state].at);
}

struct backlog_sum {
	uint64_t tenant;
	double counts[GROUP_STATES]; // as group_states
	int64_t oldest_ms;
};

struct backlog_sums {
	struct backlog_sum *items;
	size_t count, room;
};

static struct backlog_sum *sum_of(struct backlog_sums *sums, uint64_t tenant)
{
	for (size_t i = 0; i < sums->count; ++i)
		if (sums->items[i].tenant == tenant)
			return &sums->items[i];
	if (sums->count == sums->room) {
		size_t room = MAX(2 * sums->room, (size_t)16);
		struct backlog_sum *items = realloc(sums->items, room * sizeof *items);

		if (!items)
			return NULL;
		sums->items = items;
		sums->room = room;
	}
	sums->items[sums->count] = (struct backlog_sum){.tenant = tenant};
	return &sums->items[sums->count++];
}

static void sum_add(void *ctx, const struct backlog_row *row)
{
	struct backlog_sum *sum = row->at_ms ? sum_of(ctx, row->tenant) : NULL;

	if (!sum)
		return;
	for (size_t i = 0; i < GROUP_STATES; ++i)
		sum->counts[i] += state_count(row, i);
	if (row->oldest_ms > 0 && (!sum->oldest_ms || row->oldest_ms < sum->oldest_ms))
		sum->oldest_ms = row->oldest_ms;
}

static double age_s(int64_t since_ms)
{
	return since_ms > 0 ? MAX((double)(clock_wall_ms() - since_ms) / 1e3, 0.0) : 0;
}

static void each_backlog_sum(struct collector *collector,
			     void (*fn)(struct collector *collector, const char *tenant,
					const struct backlog_sum *sum))
{
	struct backlog_sums sums = {0};

	portal_each_backlog(collector->portal, sum_add, &sums);
	for (size_t i = 0; i < sums.count; ++i) {
		char *tenant = name_copy(collector->daemon->registry, REGISTRY_TENANT,
					 sums.items[i].tenant);

		if (tenant)
			fn(collector, tenant, &sums.items[i]);
		free(tenant);
	}
	free(sums.items);
}

static void put_backlog(struct collector *collector, const char *tenant,
			const struct backlog_sum *sum)
{
	for (size_t i = 0; i < BACKLOG_STATES; ++i)
		put(collector, sum->counts[i], (const char *const[]){tenant, group_states[i].name});
}

static void put_backlogs(struct collector *collector)
{
	each_backlog_sum(collector, put_backlog);
}

static void put_outcome(struct collector *collector, const char *tenant,
			const struct backlog_sum *sum)
{
	for (size_t i = BACKLOG_STATES; i < GROUP_STATES; ++i)
		put(collector, sum->counts[i], (const char *const[]){tenant, group_states[i].name});
}

static void put_outcomes(struct collector *collector)
{
	each_backlog_sum(collector, put_outcome);
}

static void put_oldest(struct collector *collector, const char *tenant,
		       const struct backlog_sum *sum)
{
	put(collector, age_s(sum->oldest_ms), (const char *const[]){tenant});
}

static void put_oldest_all(struct collector *collector)
{
	each_backlog_sum(collector, put_oldest);
}

// One group's row, where detail is asked for.
struct group_put {
	struct collector *collector;
	void (*put)(struct collector *collector, const char *tenant, const char *group,
		    const struct backlog_row *row);
};

static void group_put(void *ctx, const struct backlog_row *row)
{
	const struct group_put *one = ctx;
	struct registry *registry = one->collector->daemon->registry;
	char *tenant = name_copy(registry, REGISTRY_TENANT, row->tenant),
	     *group = name_copy(registry, REGISTRY_GROUP, row->group);

	if (tenant && group && row->at_ms)
		one->put(one->collector, tenant, group, row);
	free(tenant);
	free(group);
}

static void put_group_backlog(struct collector *collector, const char *tenant, const char *group,
			      const struct backlog_row *row)
{
	for (size_t i = 0; i < BACKLOG_STATES; ++i)
		put(collector, state_count(row, i),
		    (const char *const[]){tenant, group, group_states[i].name});
}

static void put_group_backlogs(struct collector *collector)
{
	struct group_put one = {collector, put_group_backlog};

	portal_each_backlog(collector->portal, group_put, &one);
}

static void put_group_outcome(struct collector *collector, const char *tenant, const char *group,
			      const struct backlog_row *row)
{
	for (size_t i = BACKLOG_STATES; i < GROUP_STATES; ++i)
		put(collector, state_count(row, i),
		    (const char *const[]){tenant, group, group_states[i].name});
}

static void put_group_outcomes(struct collector *collector)
{
	struct group_put one = {collector, put_group_outcome};

	portal_each_backlog(collector->portal, group_put, &one);
}

static void put_group_oldest(struct collector *collector, const char *tenant, const char *group,
			     const struct backlog_row *row)
{
	if (row->oldest_ms >= 0)
		put(collector, age_s(row->oldest_ms), (const char *const[]){tenant, group});
}

static void put_group_oldest_all(struct collector *collector)
{
	struct group_put one = {collector, put_group_oldest};

	portal_each_backlog(collector->portal, group_put, &one);
}

// ---- certificates

static void put_expiry(struct collector *collector, const char *of, const X509 *certificate)
{
	struct tm until;

	if (certificate && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &until) == 1)
		put(collector, (double)timegm(&until), (const char *const[]){of});
}

// What a cluster is shown, when its options have one.
static void put_cluster_expiry(void *ctx, const struct model_object *object)
{
	const struct cluster *cluster = (const struct cluster *)(const void *)object;
	json_t *options = json_loads(cluster->options_json ? cluster->options_json : "{}", 0, NULL);
	const char *pem = json_string_value(json_object_get(options, "certificate_pem"));
	BIO *bio = pem ? BIO_new_mem_buf(pem, -1) : NULL;
	X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	char of[MODEL_NAME_BYTES + 16];

	snprintf(of, sizeof of, "cluster %s", cluster->name);
	put_expiry(ctx, of, certificate);
	X509_free(certificate);
	BIO_free(bio);
	json_decref(options);
}

static void put_expiries(struct collector *collector)
{
	struct daemon *daemon = (struct daemon *)(uintptr_t)collector->daemon;

	pthread_mutex_lock(&daemon->tls_lock);
	if (daemon->tls)
		put_expiry(collector, "listeners", SSL_CTX_get0_certificate(daemon->tls));
	pthread_mutex_unlock(&daemon->tls_lock);
	catalog_each(daemon->catalog, MODEL_CLUSTER, put_cluster_expiry, collector);
}

// ---- all of it

struct general {
	struct metric metric;
	void (*put)(struct collector *collector);
};

static const struct general general[] = {
	{{"mqpaas_build_info", METRIC_GAUGE, "", "version", false, "always 1"}, put_build},
	{{"process_start_time_seconds", METRIC_GAUGE, "seconds", "", false,
	  "when the process began, since 1970-01-01 UTC"},
	 put_start},
	{{"process_cpu_seconds_total", METRIC_COUNTER, "seconds", "", false,
	  "user and system CPU time of the process"},
	 put_cpu},
	{{"process_resident_memory_bytes", METRIC_GAUGE, "bytes", "", false,
	  "memory of the process that is in RAM, the store's mapped pages among it"},
	 put_resident},
	{{"process_open_fds", METRIC_GAUGE, "", "", false, "open descriptors"}, put_open_fds},
	{{"process_max_fds", METRIC_GAUGE, "", "", false, "most descriptors it may open"},
	 put_max_fds},
	{{"mqpaas_message_memory_bytes", METRIC_GAUGE, "bytes", "of", false,
	  "memory that messages on their way take in the proxy, and its limit"},
	 put_message_memory},
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
	{{"mqpaas_tenant_connections", METRIC_GAUGE, "", "tenant", false,
	  "authenticated connections"},
	 put_connections},
	{{"mqpaas_tenant_quota_limit", METRIC_GAUGE, "per second", "tenant,direction,unit", false,
	  "what a tenant may produce and consume a second; absent: no limit"},
	 put_limits},
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
	{{"mqpaas_certificate_expiry_timestamp_seconds", METRIC_GAUGE, "seconds", "of", false,
	  "when a certificate ends, since 1970-01-01 UTC: of our listeners, and what a cluster is "
	  "shown"},
	 put_expiries},
	{{"mqpaas_message_latency_seconds", METRIC_HISTOGRAM, "seconds", "what", false,
	  "how long messages took since the proxy's start: send (to the backend's "
	  "acknowledgement), deliver (from stored to the first delivery), settle (until it is "
	  "durable)"},
	 put_histograms},
	{{"mqpaas_tenant_backlog_messages", METRIC_GAUGE, "messages", "tenant,state", false,
	  "not acknowledged in all its groups: ready, in_flight, retrying, delayed; looked at "
	  "every 10 s or as often as all groups can be"},
	 put_backlogs},
	{{"mqpaas_tenant_group_messages", METRIC_GAUGE, "messages", "tenant,state", false,
	  "what became of them in all its groups, each counted once a group: sent, replayed, "
	  "acked, "
	  "dead, expired, skipped; sent + replayed = backlog + acked + dead + expired + skipped"},
	 put_outcomes},
	{{"mqpaas_tenant_oldest_unacked_seconds", METRIC_GAUGE, "seconds", "tenant", false,
	  "age of the oldest message in all its groups that is neither acknowledged nor waiting "
	  "for a time"},
	 put_oldest_all},
};

static const struct general detailed_rows[] = {
	{{"mqpaas_group_backlog_messages", METRIC_GAUGE, "messages", "tenant,group,state", true,
	  "not acknowledged: ready, in_flight, retrying, delayed"},
	 put_group_backlogs},
	{{"mqpaas_group_messages", METRIC_GAUGE, "messages", "tenant,group,state", true,
	  "what became of them: sent, replayed, acked, dead, expired, skipped; sent + replayed = "
	  "backlog + acked + dead + expired + skipped"},
	 put_group_outcomes},
	{{"mqpaas_group_oldest_unacked_seconds", METRIC_GAUGE, "seconds", "tenant,group", true,
	  "age of its oldest message that is neither acknowledged nor waiting for a time"},
	 put_group_oldest_all},
};

static void put_rows(struct collector *collector, const struct general *rows, size_t count)
{
	for (size_t i = 0; i < count; ++i) {
		collector->metric = &rows[i].metric;
		metrics_begin(&collector->out, &rows[i].metric);
		rows[i].put(collector);
	}
}

int metrics_collect(void *ctx, const struct portal *portal, bool detailed, char **ret,
		    size_t *ret_size)
{
	struct collector collector = {.daemon = ctx, .portal = portal};
	int r;

	put_rows(&collector, general, ARRAY_SIZE(general));
	if (detailed)
		put_rows(&collector, detailed_rows, ARRAY_SIZE(detailed_rows));
	r = put_families(&collector, REGISTRY_TENANT);
	if (r == 0 && detailed)
		r = put_families(&collector, REGISTRY_TOPIC);
	if (r == 0 && detailed)
		r = put_families(&collector, REGISTRY_GROUP);
	collector.out.failed |= r < 0;
	return metrics_take(&collector.out, ret, ret_size);
}

void metrics_page(FILE *file)
{
	metrics_print_head(file);
	for (size_t i = 0; i < ARRAY_SIZE(general); ++i)
		metrics_print_row(&general[i].metric, file);
	for (size_t i = 0; i < ARRAY_SIZE(detailed_rows); ++i)
		metrics_print_row(&detailed_rows[i].metric, file);
	for (size_t i = 0; i < ARRAY_SIZE(families); ++i)
		metrics_print_row(&families[i].metric, file);
}
