// Which incarnations of topics were deleted here: they are not opened again.
#pragma once

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"

int rabbitmq_ended_start(struct adapter *adapter);
void rabbitmq_ended_stop(struct adapter *adapter);
void rabbitmq_ended_add(struct adapter *adapter, const struct topic *topic);    // @thread any
void rabbitmq_ended_remove(struct adapter *adapter, const struct topic *topic); // made again
bool rabbitmq_ended_has(struct adapter *adapter, const struct topic *topic);    // @thread any
