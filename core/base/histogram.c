// Counts values in buckets of equal relative width, for percentiles.
//
// A bucket is chosen by a value's power of two and the six bits below its highest bit, so a
// percentile is at most 1/64 too high. Values below 64 are exact.
//
// Invariant: `count` is the sum of all buckets. There is no lock: one thread at a time uses a
// histogram.

#include "core/base/histogram.h"

#include "core/base/util.h"

void histogram_init(struct histogram *histogram)
{
	memset(histogram, 0, sizeof *histogram);
	histogram->min = UINT64_MAX;
}

// The highest bit of a value from 64 on is 6 or more; exponent 6 continues at bucket 64, right
// behind the exact ones.
static size_t bucket_of(uint64_t value)
{
	unsigned exponent;

	if (value < 64)
		return (size_t)value;
	exponent = 63 - (unsigned)__builtin_clzll(value);
	return (exponent - 5) * 64 + ((value >> (exponent - 6)) & 63);
}

// The largest value of a bucket.
static uint64_t bucket_top(size_t bucket)
{
	unsigned exponent = (unsigned)(bucket / 64) + 5;

	if (bucket < 64)
		return bucket;
	return ((64 + (bucket % 64)) << (exponent - 6)) + ((1ull << (exponent - 6)) - 1);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
	++histogram->counts[bucket_of(value)];
	++histogram->count;
	histogram->sum += value;
	histogram->min = MIN(histogram->min, value);
	histogram->max = MAX(histogram->max, value);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; ++i)
		into->counts[i] += from->counts[i];
	into->count += from->count;
	into->sum += from->sum;
	into->min = MIN(into->min, from->min);
	into->max = MAX(into->max, from->max);
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
	uint64_t wanted = (uint64_t)((double)histogram->count * percent / 100.0 + 0.5), seen = 0;

	wanted = MAX(wanted, 1);
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; ++i) {
		seen += histogram->counts[i];
		if (seen >= wanted)
			return MIN(bucket_top(i), histogram->max);
	}
	return 0;
}
