// Whether the head of an open store is still the one that was written.
#pragma once

#include "adapters/store/store.h"

// Looks at the head that a transaction with this number begins from. 0; -EUCLEAN: it has changed
// since it was written; the store is stopped then, which is said. @thread any
int head_check(struct store *store, uint64_t transaction);

// The head has changed: stops the store and returns -EUCLEAN. @thread any
int head_report_changed(struct store *store);

// From now on nothing is read from or written to it: BACKEND_ERROR to its users. The reason is
// logged (STORE-STOPPED) and shown with the cluster's state; it is borrowed for good. Only the
// first call does anything. @thread any
void head_stop(struct store *store, const char *reason);
const char *head_stopped(const struct store *store); // NULL: it is not. @thread any
