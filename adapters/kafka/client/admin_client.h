// Admin requests for callers that may block: begin, the request on `handle` with both members,
// await. What concerns a group goes to its coordinator (admin_handle.h).
#pragma once

#include "adapters/kafka/client/admin_handle.h"

struct admin_client {
	struct admin_handle_entered entered;
	rd_kafka_t *handle;
	bool coordinated;
	rd_kafka_AdminOptions_t *options;
	rd_kafka_queue_t *queue;
	rd_kafka_event_t *event;
};
void admin_client_begin(struct adapter *adapter, rd_kafka_admin_op_t operation,
			struct admin_client *client);
// Waits for the answer; the error of the request as a whole. *ret_text lives until deinit.
rd_kafka_resp_err_t admin_client_await(struct admin_client *client, const char **ret_text);
// The same for a request to make, grow or delete one topic: also the error of the topic.
rd_kafka_resp_err_t admin_client_await_topic(struct admin_client *client, const char **ret_text);
void admin_client_end(struct admin_client *client);

// ---- what brokers say their settings, or those of topics, are

// Called for every setting of every resource. @thread the caller's
typedef void (*admin_client_config_fn)(void *ctx, const char *resource, const char *name,
				       const char *value);

// One resource type at a time; brokers by their number, and only one of them. `broker`: the one
// that is asked, -1 for any; `found` may be NULL. Blocks. The first error of a resource comes back
// when the others are through.
rd_kafka_resp_err_t admin_client_describe_configs(struct adapter *adapter, int32_t broker,
						  rd_kafka_ResourceType_t type,
						  const char *const *names, size_t count,
						  admin_client_config_fn found, void *ctx);
