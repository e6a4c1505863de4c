// What is known of a cluster as a whole, and what follows for the durability of what is stored.
#pragma once

#include "adapters/kafka/adapter.h"

struct kafka_facts {
	bool known;      // a broker has answered
	bool configured; // and told its settings; else the three below are not known
	uint32_t replication, min_insync; // of topics that ask for nothing
	char version[48];
	uint32_t nodes;
	uint64_t latency_us;
};

int kafka_facts_start(struct adapter *adapter);
void kafka_facts_stop(struct adapter *adapter);
// Asks the cluster; what is not answered stays as it was known. Blocks. @thread any that may
rd_kafka_resp_err_t kafka_facts_ask(struct adapter *adapter, int timeout_ms);
struct kafka_facts kafka_facts_get(struct adapter *adapter); // @thread any

// The class of what is stored with so many copies of which so many must have it. Pure.
enum durability kafka_durability(uint32_t replication, uint32_t min_insync);
// Of topics that are made by us, and why. The reason needs KAFKA_REASON bytes.
#define KAFKA_REASON 320
enum durability kafka_facts_durability(const struct kafka_facts *facts,
				       const struct kafka_options *options, char *ret_reason);
// The version from settings that came or went with it, while no broker tells it. Pure.
void kafka_version_note(char version[48], const char *name, const char *value);
uint32_t kafka_capabilities(struct adapter *adapter); // what follows for the slot; cheap
