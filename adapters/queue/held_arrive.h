// What becomes of a delivery that arrives.
#pragma once

#include "adapters/queue/held_state.h"

void held_arrive(struct held *held, const struct queue_arrival *arrival);
