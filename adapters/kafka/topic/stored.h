// What topics and retry stores take on a Kafka cluster: an estimate, because brokers do not tell
// clients how many bytes a partition has.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

// What was sent to a topic since this is counted; both are atomic.
struct kafka_sent {
	uint64_t messages, bytes;
};

// Reads what is known from `data_dir`. -ENOMEM
int kafka_stored_start(struct adapter *adapter, const char *data_dir);
// Writes what is known; accepts one that was not started. Nothing is asked any more.
void kafka_stored_stop(struct adapter *adapter);

// Where sends to a topic are counted; stays until the end. NULL: no memory. @thread any
struct kafka_sent *kafka_stored_sent(struct adapter *adapter, uint64_t topic);
// The number of rows in the retry store of a group. @thread any
void kafka_stored_rows(struct adapter *adapter, uint64_t group, uint64_t rows);
// The topic is gone from the cluster. @thread any
void kafka_stored_deleted(struct adapter *adapter, uint64_t topic);
// The slot of the adapter.
void kafka_stored_fill(struct adapter *adapter, struct stored_row *rows, size_t count);
