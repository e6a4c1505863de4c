// Counts of values by size, for percentiles: 64 buckets a power of two, so a percentile is at
// most 1.6 % above the true one.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 3776u

struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS];
	uint64_t count, sum, min, max;
};

void histogram_init(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t value); // one thread at a time
void histogram_merge(struct histogram *into, const struct histogram *from);
uint64_t histogram_percentile(const struct histogram *histogram,
			      double percent); // 0 … 100; 0 when empty
