// Slots of the adapter that make, change, delete and describe topics. @thread any
#pragma once

#include "adapters/rabbitmq/ask/ask.h"

// Of the stream beside a topic of ours.
struct rabbitmq_shape rabbitmq_topics_history_shape(const struct adapter *adapter,
						    const struct topic *topic);
void rabbitmq_topics_create(struct adapter *adapter, const struct topic *topic,
			    adapter_done_fn done, void *ctx);
void rabbitmq_topics_change(struct adapter *adapter, const struct topic *topic,
			    adapter_done_fn done, void *ctx);
void rabbitmq_topics_delete(struct adapter *adapter, const struct topic *topic,
			    adapter_done_fn done, void *ctx);
void rabbitmq_topics_describe(struct adapter *adapter, const struct topic *topic,
			      adapter_answer_fn done, void *ctx);
// What an imported exchange is set to: there are no limits that it would name.
void rabbitmq_topics_settings(struct adapter *adapter, const struct topic *topic,
			      adapter_answer_fn done, void *ctx);
