// All metrics of mqpaasd: the tables one after the other, as values or as a page.
//
// A table is in the file that measures it. Invariant: a metric stands in one table only, so its
// head is written once. Tables of single topics and groups are written on request only.

#include "server/metrics.h"

#include "core/base/clock.h"
#include "core/base/latency_bounds.h"
#include "core/base/util.h"
#include "server/metrics_series.h"
#include "server/metrics_tables.h"

#include <string.h>

static const struct metric_table *const general[] = {
	&metrics_process,        &metrics_control, &metrics_clusters, &metrics_probe,
	&metrics_series_tenants, &metrics_storage, &metrics_backlogs,
};

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
