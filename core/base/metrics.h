// Metrics as a table: from its rows come the text that Prometheus reads (exposition format 0.0.4)
// and the generated page.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum metric_kind { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM };

struct metric {
	const char *name; // ends in its unit, that of a counter in _total
	enum metric_kind kind;
	const char *unit;   // "seconds", "bytes", "messages"; "": a plain number
	const char *labels; // "tenant,topic"; "": none
	bool detailed;      // only where detail is asked for: as many series as there are topics
	const char *sentence;
};

#define METRIC_LABELS_MAX 4

// A text that grows; without memory it stays as it is and metrics_take() says so.
struct metrics_text {
	char *text;
	size_t size, room;
	bool failed;
};

// Begins a metric; its values follow, before the next one begins.
void metrics_begin(struct metrics_text *out, const struct metric *metric);
// `labels` are the values of the metric's labels in their order; NULL where it has none.
void metrics_value(struct metrics_text *out, const struct metric *metric, double value,
		   const char *const *labels);
// Of a histogram: how often what was counted fell into each bucket, the last one beyond all bounds.
struct metrics_histogram {
	const uint64_t *bounds_us, *counts; // `count` of them, and one more
	size_t count;
	uint64_t sum_us;
};
// In seconds.
void metrics_histogram(struct metrics_text *out, const struct metric *metric,
		       const struct metrics_histogram *histogram, const char *const *labels);
// Gives the text away; -ENOMEM. Empty again afterwards.
int metrics_take(struct metrics_text *out, char **ret, size_t *ret_size);

void metrics_print_head(FILE *file); // of a Markdown table
void metrics_print_row(const struct metric *metric, FILE *file);
