// What mqpaasd measures: the tables that docs/metrics.md is generated from, and their values.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct portal;

// As portal_config.metrics; `ctx` is the daemon. @thread portal
int metrics_collect(void *ctx, const struct portal *portal, bool detailed, char **ret,
		    size_t *ret_size);

void metrics_page(FILE *file); // the tables in Markdown
