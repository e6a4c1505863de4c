// Whether the head of an open store is still the one that was written.
#pragma once

#include "adapters/store/store.h"

// Looks at the head that a transaction begins from. -EUCLEAN: it has changed since it was written;
// the store is stopped then, which is said. @thread any
int head_check(struct store *store, uint64_t transaction);

int head_report_changed(struct store *store); // -EUCLEAN: it has changed. @thread any

// From now on nothing is read from or written to it: BACKEND_ERROR to its users. The reason is
// logged (STORE-STOPPED) and shown with the cluster's state. @thread any
void head_stop(struct store *store, const char *reason);
const char *head_stopped(const struct store *store); // NULL: it is not. @thread any
