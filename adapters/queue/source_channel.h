// The channels of a queue source, one after another.
#pragma once

#include "adapters/queue/source_state.h"

// When the wait for it is over.
void queue_source_channel_open_if_due(struct source *source);
uint64_t queue_source_channel_next_ns(const struct source *source); // UINT64_MAX: no wait
// Events of the backend; true: it was the current one, and the engine knows.
bool queue_source_channel_opened(struct source *source, uint64_t epoch);
bool queue_source_channel_lost(struct source *source, uint64_t epoch);
bool queue_source_channel_gone(struct source *source);
