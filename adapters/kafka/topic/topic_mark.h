// Which topic of a name a cluster holds, in the metadata of a commit of the consumer group
// `mqp.marks` on its first partition: `mqp1`, the incarnation, the generation unless it is 0, and
// behind that 1 if it has holes, in decimal. Kafka deletes it with the topic.
//
// The incarnation is the registry's: another one is another topic. A topic that another client
// deletes and recreates keeps it and begins a new generation, an epoch above all that cursors of
// earlier generations were written in: those are void, and so is what retry stores hold
// (retry_rows.h).
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

#define TOPIC_MARK_GROUP "mqp.marks"

struct topic_mark {
	const char *physical;
	uint64_t incarnation; // 0: there is no mark
	uint64_t generation;
	bool holes;                // positions without a message have been read in it
	rd_kafka_resp_err_t error; // out: of this one alone; then nothing is known of it
};

// Both block, and return the error of all of them, or the first of one. @thread kafka-admin,
// kafka-watch
rd_kafka_resp_err_t topic_mark_read(struct adapter *adapter, struct topic_mark *marks,
				    size_t count);
rd_kafka_resp_err_t topic_mark_write(struct adapter *adapter, struct topic_mark *marks,
				     size_t count);
