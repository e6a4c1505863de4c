// What a topic is and holds, and emptying it: slots of the adapter.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

void topic_query_describe(struct adapter *adapter, const struct topic *topic,
			  adapter_answer_fn done, void *ctx);
void topic_query_purge(struct adapter *adapter, const struct topic *topic, bool preview,
		       adapter_answer_fn done, void *ctx);
void topic_query_read(struct adapter *adapter, const struct topic *topic,
		      const struct message_query *query, adapter_answer_fn done, void *ctx);
