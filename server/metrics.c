// Two tables: what is said of the process and the control data, each with a function of its own;
// and the counters of tenants, topics and groups, which are all read the same way.
//
// The counters are the portal's, so they go on across restarts of the proxy.

#include "server/metrics.h"

#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/base/util.h"
#include "core/registry/catalog.h"
#include "core/registry/registry.h"
#include "core/registry/scrub.h"
#include "server/daemon_state.h"

#include <dirent.h>
#include <errno.h>
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

// ---- all of it

static const struct {
	struct metric metric;
	void (*put)(struct collector *collector);
} general[] = {
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
};

int metrics_collect(void *ctx, const struct portal *portal, bool detailed, char **ret,
		    size_t *ret_size)
{
	struct collector collector = {.daemon = ctx, .portal = portal};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(general); ++i) {
		collector.metric = &general[i].metric;
		metrics_begin(&collector.out, &general[i].metric);
		general[i].put(&collector);
	}
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
	for (size_t i = 0; i < ARRAY_SIZE(families); ++i)
		metrics_print_row(&families[i].metric, file);
}
