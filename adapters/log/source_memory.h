// Counts and bounds the memory of what a source has read and not handed out.
#pragma once

#include "adapters/log/source_state.h"

// How many of the bytes may be read now, beside what is `held` of that kind; 0: none yet.
uint32_t source_memory_fit(struct source *source, uint64_t held, uint32_t bytes);
// What was *held of that kind, new_bytes or open_bytes, is now `bytes`.
void source_memory_hold(struct source *source, uint64_t *kind, uint64_t *held, uint64_t bytes);
// At the end of a pump: when to look for room again; UINT64_MAX: nothing was put off.
uint64_t source_memory_next(struct source *source, uint64_t now_ns);
