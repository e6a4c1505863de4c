// Asks the cluster where partitions begin and end: of every one that has a leader. Blocks: for a
// task.
#pragma once

#include "adapters/kafka/topic/topic.h"

enum code kafka_bounds_ask(struct adapter_topic *topic);
rd_kafka_resp_err_t kafka_bounds_ask_all(struct adapter *adapter, struct adapter_topic **topics,
					 size_t count, int timeout_ms);
