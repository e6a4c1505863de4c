// The levels in which what is due later than in a minute waits: queues with a time to live. Pure.
#pragma once

#include <stdint.h>

#define RABBITMQ_LEVELS 7u

extern const uint32_t rabbitmq_level_seconds[RABBITMQ_LEVELS]; // rising; 60 first
// The largest level that is not longer than what remains; -1: there is none.
int rabbitmq_level_for(uint64_t remaining_ms);
