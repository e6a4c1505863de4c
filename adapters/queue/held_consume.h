// How much the backend may hand out by itself.
#pragma once

#include "adapters/queue/held_state.h"

void held_consume_init(struct held *held);
void held_consume_note_demand(struct held *held); // it has changed
void held_consume_run(struct held *held);
void held_consume_cancelled(struct held *held);
void held_consume_lost(struct held *held);
uint64_t held_consume_next_ms(const struct held *held); // by the steady clock
