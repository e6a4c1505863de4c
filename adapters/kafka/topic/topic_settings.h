// The settings of a topic of ours: those that follow from its resource and may change with it, and
// those without which it would be another kind of log.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

#define TOPIC_SETTINGS 7

struct topic_setting {
	const char *name;
	char value[24]; // "": none, the broker's default holds
	bool once;      // only where none is set for the topic
};

// In a fixed order, for a topic that we made.
void topic_settings_of(const struct topic *topic, struct topic_setting settings[TOPIC_SETTINGS]);

// Both change what is another on the cluster, and nothing else of the topic. Block. *ret_changed:
// something was; the brokers follow a moment later. In `room` what was said of an error.
// @thread kafka-admin, kafka-ask, kafka-watch
rd_kafka_resp_err_t topic_settings_put(struct adapter *adapter, const char *physical,
				       const struct topic_setting *settings, size_t count,
				       bool *ret_changed, char *room, size_t size);
rd_kafka_resp_err_t topic_settings_write(struct adapter *adapter, const struct topic *topic,
					 bool *ret_changed, char *room, size_t size);
