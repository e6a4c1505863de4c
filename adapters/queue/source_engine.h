// The engine of a queue source between the backend's ops and the opener's handlers.
#pragma once

#include "adapters/queue/source_state.h"

#define QUEUE_SOURCE_REFUSED_NS (2 * HELD_AGAIN_MS * MS_NS)

int queue_source_engine_init(struct source *source); // -ENOMEM
// A channel is about to be opened: how long may a delivery stay unacknowledged on it?
void queue_source_engine_renewal(struct source *source);
void queue_source_engine_run(struct source *source);
// When it needs a run at the latest; UINT64_MAX: not before an event.
uint64_t queue_source_engine_next_ns(const struct source *source);
// The backend has refused a copy: why.
void queue_source_engine_note_refused(struct source *source, enum code code, const char *text);
