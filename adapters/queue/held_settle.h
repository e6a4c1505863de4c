// Settling what was handed out.
#pragma once

#include "adapters/queue/held_state.h"

struct held_waiter;

// Sets code and settled of the entry; what must become durable counts at the waiter (may be NULL).
void held_settle_entry(struct held *held, struct settle *settle, struct held_waiter *waiter);
