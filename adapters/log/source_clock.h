// What time it is for a source: by the wall clock, and by its group's steady clock.
#pragma once

#include "adapters/log/source_state.h"

void source_clock_init(struct source *source);
void source_clock_load(struct source *source); // goes on from what the windows were read from
struct source_time source_clock_read(struct source *source);

// From now until then; then UINT64_MAX is never.
static inline uint64_t source_clock_until_ms(uint64_t then_ms, uint64_t now_ms)
{
	return then_ms == UINT64_MAX ? UINT64_MAX : then_ms > now_ms ? then_ms - now_ms : 0;
}
