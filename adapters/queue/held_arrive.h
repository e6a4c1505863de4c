// What becomes of a delivery that arrives.
#pragma once

#include "adapters/queue/held_state.h"

void held_arrive(struct held *held, const struct held_arrival *arrival);
