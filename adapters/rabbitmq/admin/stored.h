// The slot of the adapter that tells what topics and groups take. @thread any
#pragma once

#include "adapters/adapter.h"

void rabbitmq_stored_fill(struct adapter *adapter, struct stored_row *rows, size_t count);
