// Asks the cluster where partitions begin and end: of every one that has a leader. Blocks: for a
// task.
#pragma once

#include "adapters/kafka/topic/topic.h"

enum code watermarks_refresh(struct adapter_topic *topic);
rd_kafka_resp_err_t watermarks_refresh_all(struct adapter *adapter, struct adapter_topic **topics,
					   size_t count, int timeout_ms);
