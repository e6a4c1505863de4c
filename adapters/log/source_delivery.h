// Hands messages to the opener of the source, as far as its demand goes. What runs for every
// message is here, so that it costs no call.
#pragma once

#include "adapters/log/source_state.h"
#include "core/wire/record.h"

// Hands out what was added.
void source_delivery_flush(struct source *source);

// Whether demand is left, for one more message or one more dead-letter copy. Rather one message too
// large than none: a record may exceed what is left of the bytes.
static inline bool source_delivery_allowed(const struct source *source, bool rejected)
{
	if (source->closing)
		return false;
	return rejected ? source->demand_rejected > 0
			: source->demand_messages > 0 && source->demand_bytes > 0;
}

// Takes it off the demand; the record must stay until source_delivery_flush().
static inline void source_delivery_add(struct source *source, const struct delivery *delivery)
{
	assert(delivery->attempt > 0);
	source->deliveries[source->delivery_count] = *delivery;
	source->deliveries[source->delivery_count++].epoch = source->epoch;
	if (delivery->rejected) {
		--source->demand_rejected;
	} else {
		--source->demand_messages;
		source->demand_bytes -= MIN(source->demand_bytes, (uint64_t)delivery->size);
	}
	if (source->delivery_count == SOURCE_BATCH)
		source_delivery_flush(source);
}

void source_delivery_times_read(const struct log_entry *entry, uint64_t *ret_due_ms,
				uint64_t *ret_expiry_ms);

// When a message may be delivered and when no more, by the wall clock; due 0 and expiry UINT64_MAX
// when it says nothing.
static inline void source_delivery_times(const struct log_entry *entry, uint64_t *ret_due_ms,
					 uint64_t *ret_expiry_ms)
{
	*ret_due_ms = 0;
	*ret_expiry_ms = UINT64_MAX;
	if (record_flags(entry->record) & (RECORD_DUE | RECORD_TTL))
		source_delivery_times_read(entry, ret_due_ms, ret_expiry_ms);
}
