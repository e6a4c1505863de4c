// The tables of metrics that make up /metrics, one a file.
#pragma once

#include "server/collector.h"

extern const struct metric_table metrics_process, metrics_control, metrics_clusters, metrics_probe,
	metrics_series_tenants, metrics_storage, metrics_backlogs;
extern const struct metric_table metrics_backlogs_groups; // only where detail is asked for
