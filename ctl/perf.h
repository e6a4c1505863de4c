// Load tests: produce, consume, and end to end.
#pragma once

#include "ctl/ctl.h"
#include "ctl/option.h"

extern const struct option perf_options[];

// `topic` alone: produce; `group` alone: consume; both: every message is timed from its intended
// start to its delivery.
int perf_run(const struct ctl *ctl, const char *topic, const char *group, const json_t *options);
