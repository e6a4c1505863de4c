// Room for deliveries in a tenant's share of the message memory.
#pragma once

#include "proxy/resource/budget.h"

#include <stddef.h>

struct delivery;

// How many of the deliveries may be handed to connections now.
size_t delivery_budget_fit(const struct budget_share *share, const struct delivery *deliveries,
			   size_t count);
uint64_t delivery_budget_size(const struct delivery *deliveries, size_t count); // as counted
// How long a group that has waited for `waited_ns` waits until it looks again; 0: it has not.
uint64_t delivery_budget_wait_longer(uint64_t waited_ns);
