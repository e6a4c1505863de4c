// How the files that measure are put together: each has a table of metrics, with a function for
// each row that writes the row's values through a collector.
#pragma once

#include "core/base/metrics.h"
#include "core/registry/registry.h"
#include "portal-api/portal.h"

struct daemon;

struct collector {
	const struct daemon *daemon;
	const struct portal *portal;
	struct metrics_text out;
	const struct metric *metric; // that is being written
	int64_t now_ms;              // wall clock of the scrape; every age in it counts from here
};

struct metric_row {
	struct metric metric;
	void (*put)(struct collector *collector); // its values, by collector_put()
};

struct metric_table {
	const struct metric_row *rows;
	size_t count;
};

// A value of the metric that is being written; `labels` as those of metrics_value().
void collector_put(struct collector *collector, double value, const char *const *labels);
void collector_put_flat(struct collector *collector, double value); // where it has no labels
// One of the metric's histograms: {counts, sum_us} with the buckets of core/base/latency_bounds.h.
void collector_histogram(struct collector *collector, const json_t *told,
			 const char *const *labels);
// What something is called, to be freed; NULL: it was deleted since, or there is no memory.
char *collector_name(struct registry *registry, enum registry_kind kind, uint64_t id);
