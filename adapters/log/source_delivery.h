// Handing messages to whoever opened the source, as far as its demand goes.
#pragma once

#include "adapters/log/source_state.h"

// Whether demand is left, for one more message or one more dead-letter copy.
bool source_delivery_allowed(const struct source *source, bool rejected);
// Takes it off the demand; the record must stay until source_delivery_flush().
void source_delivery_add(struct source *source, const struct delivery *delivery);
// Hands out what was added.
void source_delivery_flush(struct source *source);
// When a message may be delivered and when no more, by the wall clock; due 0 and expiry UINT64_MAX
// when it says nothing.
void source_delivery_times(const struct log_entry *entry, uint64_t *ret_due_ms,
			   uint64_t *ret_expiry_ms);
