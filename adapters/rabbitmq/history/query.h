// The slot of the adapter that reads messages of a topic as its stream keeps them. @thread any
#pragma once

#include "adapters/adapter.h"

void rabbitmq_query_read(struct adapter *adapter, const struct topic *topic,
			 const struct message_query *query, adapter_answer_fn done, void *ctx);
