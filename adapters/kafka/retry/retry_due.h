// What is due in a group's retry store.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"
#include "adapters/log/log.h"

// The slot of the log source.
void retry_due(struct adapter *adapter, struct log_due *due);
