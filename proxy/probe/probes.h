// Standing end-to-end probes (docs/probe.md): on every cluster a topic of the service's own,
// through which one message a round is sent, read back and settled.
//
// All of them live on the first worker's loop, where queries about them are answered, too.
#pragma once

#include "core/base/list.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct shared;
struct workers;

struct probes {
	const struct workers *workers;
	struct shared *shared;
	const char *proxy_id;
	struct list all; // struct probe
	uint64_t nonce;  // tells our messages from those of another process
	bool closing;    // the proxy leaves
};

// Nothing is probed yet. The string is borrowed.
void probes_init(struct probes *probes, const struct workers *workers, struct shared *shared,
		 const char *proxy_id);
void probes_deinit(struct probes *probes); // when the loop has ended

// Before the loop runs, and whenever the settings have changed. Off: topics and groups of the
// probes are removed from the clusters.
void probes_reload(struct probes *probes);
// A cluster was made, changed or deleted; gone: its backend is to be let go.
void probes_cluster_changed(struct probes *probes, uint64_t cluster, bool gone);
// Lets go of every cluster; what lies there stays for the next start.
void probes_close(struct probes *probes);
bool probes_closed(const struct probes *probes); // nothing is open on any cluster

// Adds to a cluster's row of CLUSTER_STATES what is known of its probe; nothing when it is off.
void probes_tell(const struct probes *probes, uint64_t cluster, json_t *row);
