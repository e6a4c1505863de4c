// The counters of tenants, topics and groups as series.
#pragma once

#include "server/collector.h"

// The counters of tenants and, where `detailed`, of topics and groups; -ENOMEM.
int metrics_series(struct collector *collector, bool detailed);
void metrics_series_page(FILE *file); // their rows in Markdown
