// One scrape of the metrics: the functions of the rows write their values here.
//
// A value belongs to the metric of the row that is being written. Not here: the text format
// (core/base/metrics.c), and which metrics there are (metrics_*.c).

#include "server/collector.h"

#include "core/base/latency_bounds.h"
#include "core/base/util.h"
#include "core/registry/lookup.h"

#include <string.h>

void collector_put(struct collector *collector, double value, const char *const *labels)
{
	metrics_value(&collector->out, collector->metric, value, labels);
}

void collector_put_flat(struct collector *collector, double value)
{
	collector_put(collector, value, NULL);
}

void collector_histogram(struct collector *collector, const json_t *told, const char *const *labels)
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
	metrics_histogram(&collector->out, collector->metric, &histogram, labels);
}

// registry_lookup_name() keeps one name at a time.
char *collector_name(struct registry *registry, enum registry_kind kind, uint64_t id)
{
	const char *name = registry_lookup_name(registry, kind, id);

	return name ? strdup(name) : NULL;
}
