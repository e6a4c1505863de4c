// Copies for the group's retry store: what failed, what is due later, and what has been held for
// too long.
#pragma once

#include "adapters/queue/held_state.h"

void held_write_run(struct held *held); // begins what is to be written, tries again what failed
void held_write_answered(struct held *held, uint64_t number, enum queue_outcome outcome);
void held_write_lost(struct held *held);
void held_write_close(struct held *held);
uint64_t held_write_next_ms(const struct held *held); // by the steady clock
