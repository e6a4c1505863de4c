// Looking at a topic of a durable log. Topic and query are borrowed until the call returns; `done`
// comes once, on a reader's thread or before the call returns, and owns the answer. @thread any
#pragma once

#include "adapters/adapter.h"

struct durable_log;

// {partitions: [{partition, first, end, bytes, oldest_ms}]}; oldest_ms null: it holds no message.
void store_topic_query_describe(struct durable_log *log, const struct topic *topic,
				adapter_json_fn done, void *ctx);
// Some messages, as QUERY_MESSAGES: `query` names partition, limit, and offset or time_ms; at most
// 100 messages and 4 MiB come.
void store_topic_query_read(struct durable_log *log, const struct topic *topic, const json_t *query,
			    adapter_json_fn done, void *ctx);
