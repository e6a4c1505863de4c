// What a load costs: time, its own CPU time, and that of a server it watches.
#pragma once

#include "tests/bench/args.h"

struct costs {
	uint64_t at_ns, own_ns, watched_ns;
};

// Argument: [watch=PID], a process whose CPU time is looked at, too.
struct costs costs_now(const struct args *args);
struct costs costs_since(const struct costs *begun, const struct args *args);

void costs_sleep_until(uint64_t at_ns); // monotonic
