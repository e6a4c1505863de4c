// The settings that a topic has on the cluster, as the registry shows them and as they limit sends.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"
#include "adapters/kafka/topic/limits.h"

struct adapter_topic;

#define OBSERVED_SETTINGS_AT_ONCE 100

// Some topics by their names on the cluster, and what they are set to.
struct observed_settings {
	const char *names[OBSERVED_SETTINGS_AT_ONCE];
	struct kafka_limits limits[OBSERVED_SETTINGS_AT_ONCE];
	uint32_t min_insync[OBSERVED_SETTINGS_AT_ONCE]; // 0: nothing was told of it
	size_t count;
};

// Names and count are given. Blocks.
rd_kafka_resp_err_t observed_settings_read(struct adapter *adapter,
					   struct observed_settings *settings);
// What the topic with this index is set to, as a whole.
struct answer_settings observed_settings_answer(const struct observed_settings *settings,
						size_t index, uint32_t partitions);
// Sets `settings` of these topics, to rows of `room` (one for each), as far as the cluster tells
// them in time. Blocks.
void observed_settings_add(struct adapter *adapter, struct existing_topic *topics, size_t count,
			   struct answer_settings *room, uint64_t deadline_ns);
void observed_settings_refresh(
	struct adapter_topic *topic); // what is known of an open one. Blocks.
