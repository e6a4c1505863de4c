// Saying that something of a store is damaged: an incident that stays until an operator has dealt
// with it.
#pragma once

#include "adapters/store/damage_list.h"
#include "adapters/store/store.h"

// Logs it (STORE-DAMAGED), and keeps a copy, over restarts too; found_ms is filled in. Does nothing
// for what is known already. @thread any
void damage_report(struct store *store, const struct damage *damage);
