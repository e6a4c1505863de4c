// The management API of a cluster: asked every few seconds and on demand, on a thread of its own.
#pragma once

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"

int rabbitmq_manage_start(struct adapter *adapter); // does nothing when there is no address
void rabbitmq_manage_stop(struct adapter *adapter);
