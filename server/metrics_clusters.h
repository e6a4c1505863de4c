// What the metrics of clusters, and of probes, are read from.
#pragma once

#include "server/collector.h"

// Calls fn with the name and the row of CLUSTER_STATES of each cluster that a proxy has told of.
void metrics_clusters_each(struct collector *collector,
			   void (*fn)(struct collector *collector, const char *name,
				      const json_t *row));
