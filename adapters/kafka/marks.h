// Which life of a topic a cluster holds: its incarnation, in the metadata of a commit of the
// consumer group `mqp.marks` on the topic's first partition. Kafka deletes it with the topic.
#pragma once

#include "adapters/kafka/kafka.h"

#define MARKS_GROUP "mqp.marks"

struct kafka_mark {
	const char *physical;
	uint64_t incarnation; // 0: there is no mark
};

// Both block. @thread kafka-admin, kafka-watch
rd_kafka_resp_err_t kafka_marks_read(struct adapter *adapter, struct kafka_mark *marks,
				     size_t count);
rd_kafka_resp_err_t kafka_marks_write(struct adapter *adapter, const struct kafka_mark *marks,
				      size_t count);
