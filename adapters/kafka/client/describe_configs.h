// What brokers say their settings, or those of topics, are.
#pragma once

#include "adapters/kafka/kafka.h"

// Called for every setting of every resource. @thread the asker's
typedef void (*kafka_config_fn)(void *ctx, const char *resource, const char *name,
				const char *value);

// One resource type at a time; brokers by their number, and only one of them. `broker`: who is
// asked, -1 for any; `found` may be NULL. Blocks. The first error of a resource comes back when the
// others are through.
rd_kafka_resp_err_t kafka_configs_ask(struct adapter *adapter, int32_t broker,
				      rd_kafka_ResourceType_t type, const char *const *names,
				      size_t count, kafka_config_fn found, void *ctx);
