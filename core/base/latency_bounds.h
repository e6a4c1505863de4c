// Upper bounds of the buckets in which latencies are counted, by proxies and in metrics.
#pragma once

#include <stdint.h>

#define LATENCY_BOUNDS 16

extern const uint64_t latency_bounds_us[LATENCY_BOUNDS];
