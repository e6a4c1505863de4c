// What mqpaasd measures, all of it: the tables one after the other, as values or as a page.

#include "server/metrics.h"

#include "core/base/clock.h"
#include "core/base/latency_bounds.h"
#include "core/base/util.h"
#include "server/metrics_table.h"

#include <string.h>

static const struct metric_table *const general[] = {
	&metrics_process,        &metrics_control, &metrics_clusters, &metrics_probe,
	&metrics_series_tenants, &metrics_storage, &metrics_backlogs,
};

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

// registry_name() keeps one name at a time.
char *collector_name(struct registry *registry, enum registry_kind kind, uint64_t id)
{
	const char *name = registry_name(registry, kind, id);

	return name ? strdup(name) : NULL;
}

static void put_table(struct collector *collector, const struct metric_table *table)
{
	for (size_t i = 0; i < table->count; ++i) {
		collector->metric = &table->rows[i].metric;
		metrics_begin(&collector->out, &table->rows[i].metric);
		table->rows[i].put(collector);
	}
}

int metrics_collect(void *ctx, const struct portal *portal, bool detailed, char **ret,
		    size_t *ret_size)
{
	struct collector collector = {.daemon = ctx, .portal = portal, .now_ms = clock_wall_ms()};

	for (size_t i = 0; i < ARRAY_SIZE(general); ++i)
		put_table(&collector, general[i]);
	if (detailed)
		put_table(&collector, &metrics_backlogs_groups);
	collector.out.failed |= metrics_series(&collector, detailed) < 0;
	return metrics_take(&collector.out, ret, ret_size);
}

static void print_table(const struct metric_table *table, FILE *file)
{
	for (size_t i = 0; i < table->count; ++i)
		metrics_print_row(&table->rows[i].metric, file);
}

void metrics_page(FILE *file)
{
	metrics_print_head(file);
	for (size_t i = 0; i < ARRAY_SIZE(general); ++i)
		print_table(general[i], file);
	print_table(&metrics_backlogs_groups, file);
	metrics_series_page(file);
}
