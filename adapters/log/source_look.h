// Where and when the next look into a group's retry store begins.
#pragma once

#include "adapters/log/source_state.h"

// A row may lie before the point where the next look begins; due 0: nothing is known of any.
void source_look_rewind(struct source *source, uint64_t due_ms);
// The look under way has its answer: the next one begins behind it, unless rewound meanwhile.
void source_look_advance(struct source *source);
// How many looks there are while the clocks stand so.
unsigned source_look_count(const struct source *source);
// What time it is for the rows of a look.
uint64_t source_look_time(struct source_time now, unsigned look);
// The next one in turn that is due. false: none is.
bool source_look_choose(const struct source *source, struct source_time now, unsigned *ret_look);
// How long until one is due; UINT64_MAX: nothing waits.
uint64_t source_look_next_in_ms(const struct source *source, struct source_time now);
