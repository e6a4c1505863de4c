// How much topics and retry stores take.
#pragma once

#include "adapters/adapter.h"

struct durable_log;

// Fills in bytes and `known` of each row; what cannot be read stays not known. @thread any that may
// wait for a disk
void store_usage_measure(struct durable_log *log, struct stored_row *rows, size_t count);
