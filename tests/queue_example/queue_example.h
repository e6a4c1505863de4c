// The example of a queue backend, as a kind for tests.
#pragma once

#include "adapters/adapter.h"

extern const struct adapter_ops queue_example_ops;

// Every channel is lost, as at the death of a cluster that comes back. @thread any
void queue_example_cut(struct adapter *adapter);
