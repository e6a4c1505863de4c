// What is known of a cluster as a whole, and what follows for the durability of what is stored.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

struct cluster_info {
	bool known;      // a broker has answered
	bool configured; // and told its settings; else the three below are not known
	uint32_t replication, min_insync; // of topics that ask for nothing
	char version[48];
	uint32_t nodes;
	uint64_t latency_us;
};

int cluster_info_start(struct adapter *adapter);
void cluster_info_stop(struct adapter *adapter);
// Asks the cluster; what is not answered stays as it was known. Blocks. @thread any that may
rd_kafka_resp_err_t cluster_info_refresh(struct adapter *adapter, int timeout_ms);
struct cluster_info cluster_info_get(struct adapter *adapter); // @thread any

// The class of what is stored with `replication` copies of which `min_insync` must have it. Pure.
enum durability cluster_info_copies_durability(uint32_t replication, uint32_t min_insync);
// Of topics that are made by us, and why. The reason needs CLUSTER_INFO_REASON bytes.
#define CLUSTER_INFO_REASON 320
enum durability cluster_info_durability(const struct cluster_info *info,
					const struct kafka_options *options, char *ret_reason);
// The version from settings that came or went with it, while no broker tells it. Pure.
void cluster_info_note_version(char version[48], const char *name, const char *value);
uint32_t cluster_info_capabilities(struct adapter *adapter); // what follows for the slot; cheap
