// Commits the offsets of groups again before the broker forgets them.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

// Commits again what was committed long ago: at most a few groups a call, behind other tasks.
// @thread any
void offset_keepalive_run(struct adapter *adapter, uint64_t now_ns);
