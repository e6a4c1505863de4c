// Handing out, as far as the demand goes.
#pragma once

#include "adapters/queue/held_state.h"

void held_deliver_all(struct held *held);
bool held_deliver_wanted(const struct held *held); // demand for more is left
