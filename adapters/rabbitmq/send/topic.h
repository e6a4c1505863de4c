// An open topic: resolved once per session.
#pragma once

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"

struct adapter_topic {
	struct adapter *adapter;
	const struct topic *topic; // referenced
	unsigned count;            // atomic; of its users
	unsigned lane;             // which channel of the send link
	bool missing; // atomic: the exchange is not there; looked for again now and then
};

// The slots of the adapter. @thread any
struct adapter_topic *rabbitmq_topic_open(struct adapter *adapter, const struct topic *topic);
void rabbitmq_topic_close(struct adapter_topic *topic);
