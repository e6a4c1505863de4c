// Looking at a topic of a durable log. Topic and query are borrowed until the call returns; `done`
// comes once, on a reader's thread or before the call returns. @thread any
#pragma once

#include "adapters/adapter.h"

struct durable_log;

void store_topic_query_describe(struct durable_log *log, const struct topic *topic,
				adapter_answer_fn done, void *ctx);
void store_topic_query_read(struct durable_log *log, const struct topic *topic,
			    const struct message_query *query, adapter_answer_fn done, void *ctx);
