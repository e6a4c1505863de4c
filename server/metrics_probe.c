// The standing probes of clusters (docs/probe.md); absent where probing is off.
//
// They need no tenant's traffic. Counts begin with the process, or when probing is turned on.

#include "server/metrics_tables.h"

#include "core/base/util.h"
#include "server/daemon_state.h"
#include "server/metrics_clusters.h"

static void put_delay(struct collector *collector, const char *name, const json_t *row)
{
	json_t *delays = json_object_get(json_object_get(row, "probe_counts"), "delays");
	const char *step;
	json_t *told;

	json_object_foreach(delays, step, told)
		collector_histogram(collector, told, (const char *const[]){name, step});
}

static void put_delays(struct collector *collector)
{
	metrics_clusters_each(collector, put_delay);
}

static void put_total(struct collector *collector, const char *name, const json_t *row)
{
	json_t *results = json_object_get(json_object_get(row, "probe_counts"), "results");
	const char *result;
	json_t *count;

	json_object_foreach(results, result, count) collector_put(
		collector, (double)json_integer_value(count), (const char *const[]){name, result});
}

static void put_totals(struct collector *collector)
{
	metrics_clusters_each(collector, put_total);
}

static void put_failing_of(struct collector *collector, const char *name, const json_t *row)
{
	const char *state =
		json_string_value(json_object_get(json_object_get(row, "probe"), "state"));

	if (state && (strcmp(state, "ok") == 0 || strcmp(state, "failing") == 0))
		collector_put(collector, strcmp(state, "failing") == 0,
			      (const char *const[]){name});
}

static void put_failing(struct collector *collector)
{
	metrics_clusters_each(collector, put_failing_of);
}

static void put_success_of(struct collector *collector, const char *name, const json_t *row)
{
	const json_t *last = json_object_get(json_object_get(row, "probe"), "last_ok_ms");

	if (json_is_integer(last))
		collector_put(collector, (double)json_integer_value(last) / 1e3,
			      (const char *const[]){name});
}

static void put_success(struct collector *collector)
{
	metrics_clusters_each(collector, put_success_of);
}

static const struct metric_row rows[] = {
	{{"mqpaas_probe_delay_seconds", METRIC_HISTOGRAM, "seconds", "cluster,step", false,
	  "since a probe was sent: until the backend acknowledged it (send), until it was "
	  "delivered "
	  "(receive), until its own acknowledgement was durable (settle)"},
	 put_delays},
	{{"mqpaas_probe_total", METRIC_COUNTER, "", "cluster,result", false,
	  "probes that have ended: ok, or by the step that was not done (setup, send, receive, "
	  "settle)"},
	 put_totals},
	{{"mqpaas_probe_failing", METRIC_GAUGE, "", "cluster", false,
	  "1: the last probe of the cluster failed"},
	 put_failing},
	{{"mqpaas_probe_last_success_timestamp_seconds", METRIC_GAUGE, "seconds", "cluster", false,
	  "when the last one ended that went well, since 1970-01-01 UTC"},
	 put_success},
};
const struct metric_table metrics_probe = {rows, ARRAY_SIZE(rows)};
