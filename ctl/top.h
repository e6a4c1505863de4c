// What needs an operator's eye, again and again: clusters, and groups by the age of their backlog.
#pragma once

#include "ctl/ctl.h"
#include "ctl/option.h"

extern const struct option top_options[];

int top_run(const struct ctl *ctl, const json_t *options);
