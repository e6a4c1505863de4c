// The upper bounds of the latency buckets in microseconds, shared by the proxy, which counts, and
// the metrics, which show the counts: from a quarter of a millisecond, about the time of a local
// store, to a minute.

#include "core/base/latency_bounds.h"

const uint64_t latency_bounds_us[LATENCY_BOUNDS] = {
	250,    500,    1000,   2500,    5000,    10000,   25000,    50000,
	100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 60000000};
