// Reading a partition of the topic for a source, and handing out what its window allows.
#pragma once

#include "adapters/log/source_state.h"

// Redeliveries first, then what is new; starts the reads for what is not there yet.
void source_read_pump(struct part *part, struct source_time now);
// Passes what is gone from the log. false: the topic is gone.
bool source_read_truncate(struct part *part, uint64_t *ret_first, uint64_t *ret_end);
// Gives up what was read ahead and is not under way; it is read again when it is wanted.
void source_read_drop(struct part *part);
