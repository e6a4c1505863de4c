// A process that ends inside LMDB: its last line says which store, and the next start knows.
#pragma once

#include "adapters/store/store.h"

// From now on faults of threads that work in this store are said. Does nothing for more than
// FAULT_STORES. @thread start-up
#define FAULT_STORES 64u
void fault_watch(struct store *store);
void fault_unwatch(const struct store *store);

// This thread works in the store until told otherwise. NULL: in none. @thread any
void fault_at(const struct store *store);

// The mark in the directory of a store: the next start looks at the whole file, however large.
bool fault_is_marked(const char *path);
void fault_mark(const char *path);
void fault_unmark(const char *path);
