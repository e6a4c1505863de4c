// The two clocks: monotonic nanoseconds for rates, leases and timeouts; wall milliseconds for due
// times and records.
#pragma once

#include <stdint.h>

uint64_t clock_now_ns(void); // monotonic; never goes back; @thread any
int64_t clock_wall_ms(void); // milliseconds since 1970-01-01 UTC; may jump; @thread any
