// The settings of a topic that follow from its resource and may change with it.
#pragma once

#include "adapters/kafka/client/adapter.h"

struct admin_request;

#define KAFKA_SETTINGS 5

struct kafka_setting {
	const char *name;
	char value[24]; // "": none, the broker's default holds
};

// In a fixed order, for a topic that we made.
void kafka_settings_of(const struct topic *topic, struct kafka_setting settings[KAFKA_SETTINGS]);
// Changes what is another on the cluster, and nothing else of the topic. Blocks.
void kafka_settings_write(struct adapter *adapter, struct admin_request *request);
// The slot of the adapter: what a topic that is not ours is set to.
void kafka_settings_describe(struct adapter *adapter, const struct topic *topic,
			     adapter_json_fn done, void *ctx);
