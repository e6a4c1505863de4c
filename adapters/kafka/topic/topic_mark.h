// Which topic of a name a cluster holds, in the metadata of a commit of the consumer group
// `mqp.marks` on its first partition: `mqp1`, the incarnation, the life unless it is 0, and behind
// that 1 if it has holes, in decimal. Kafka deletes it with the topic.
//
// The incarnation is the registry's: another one is another topic. A topic that somebody else
// deletes and makes anew keeps it and begins another life, an epoch above all that cursors of the
// lives before were written in: those are void, and so is what retry stores hold (retry_rows.h).
#pragma once

#include "adapters/kafka/adapter.h"

#define MARKS_GROUP "mqp.marks"

struct kafka_mark {
	const char *physical;
	uint64_t incarnation; // 0: there is no mark
	uint64_t life;
	bool holes;                // positions without a message have been read in it
	rd_kafka_resp_err_t error; // out: of this one alone; then nothing is known of it
};

// Both block, and return the error of all of them, or the first of one. @thread kafka-admin,
// kafka-watch
rd_kafka_resp_err_t kafka_marks_read(struct adapter *adapter, struct kafka_mark *marks,
				     size_t count);
rd_kafka_resp_err_t kafka_marks_write(struct adapter *adapter, struct kafka_mark *marks,
				      size_t count);
