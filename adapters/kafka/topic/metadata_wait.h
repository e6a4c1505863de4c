// What the brokers of a cluster have heard of a topic: they follow the controller each by itself,
// some later than others, and a client that asks one of those takes the topic for none.
//
// Everything here blocks.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

#define METADATA_WAIT_MS         10000 // for metadata to follow what the controller did
#define METADATA_WAIT_MISSING_MS 2000  // so long a topic may be unknown and there all the same

// How many partitions it has; 0: the cluster does not know it. `led` counts those with a leader.
rd_kafka_resp_err_t metadata_wait_ask(struct adapter *adapter, const char *physical,
				      uint32_t *ret_count, uint32_t *ret_led);

// Asks until it has `wanted` partitions, each with a leader; 0: until it is gone.
rd_kafka_resp_err_t metadata_wait_partitions(struct adapter *adapter, const char *physical,
					     uint32_t wanted);

// Until every broker knows it, or has forgotten it. One that does not answer, or may not tell, is
// not waited for.
void metadata_wait_brokers(struct adapter *adapter, const char *physical, bool there);
