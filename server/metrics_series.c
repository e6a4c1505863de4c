// The counters of tenants, topics and groups, which are all read the same way, and with them
// connections and latencies.
//
// A family is a metric with one counter for each value of its last label. The counters are the
// portal's, so they go on across restarts of the proxy. Not here: counting (proxy), and keeping
// totals (portal-api/counters.c).

#include "server/metrics_tables.h"

#include "core/base/util.h"
#include "server/daemon_state.h"
#include "server/metrics_series.h"

#include <errno.h>

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
	row->tenant = collector_name(rows->registry, REGISTRY_TENANT, tenant);
	row->name = collector_name(rows->registry, rows->kind, id);
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
			collector_put(collector, (double)row->totals[part->counter], labels);
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
			collector_put(collector, (double)rows.items[i].connections,
				      (const char *const[]){rows.items[i].tenant});
	else
		collector->out.failed = true;
	rows_free(&rows);
}

// ---- latencies of messages

static void put_histograms(struct collector *collector)
{
	const char *what;
	json_t *told;

	json_object_foreach((json_t *)(uintptr_t)portal_latencies(collector->portal), what, told)
		collector_histogram(collector, told, (const char *const[]){what});
}

static const struct metric_row rows[] = {
	{{"mqpaas_tenant_connections", METRIC_GAUGE, "", "tenant", false,
	  "authenticated connections"},
	 put_connections},
	{{"mqpaas_message_latency_seconds", METRIC_HISTOGRAM, "seconds", "what", false,
	  "how long messages took since the proxy's start: send (to the backend's "
	  "acknowledgement), deliver (from stored to the first delivery), settle (until it is "
	  "durable)"},
	 put_histograms},
};
const struct metric_table metrics_series_tenants = {rows, ARRAY_SIZE(rows)};

int metrics_series(struct collector *collector, bool detailed)
{
	int r = put_families(collector, REGISTRY_TENANT);

	if (r == 0 && detailed)
		r = put_families(collector, REGISTRY_TOPIC);
	if (r == 0 && detailed)
		r = put_families(collector, REGISTRY_GROUP);
	return r;
}

void metrics_series_page(FILE *file)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); ++i)
		metrics_print_row(&families[i].metric, file);
}
