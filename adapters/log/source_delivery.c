// Delivering: the demand of whoever opened the source is spent here, and its handler called with up
// to SOURCE_BATCH messages at a time.
//
// It lies below the two that deliver, the windows' messages (source.c) and the retry store's
// (source_retry.c), and knows neither. Invariants: nothing is handed out beyond demand, except that
// the last message may exceed what is left of the bytes; nothing once the source is closing; what
// was added lies in its buffer until the flush, so whoever adds keeps the buffer until then and
// flushes before letting it go. What state a message is in, and whether its time has come, is for
// the callers to decide.

#include "adapters/log/source_delivery.h"

#include "core/wire/record.h"

void source_delivery_flush(struct source *source)
{
	size_t count = source->delivery_count;

	source->delivery_count = 0;
	if (count && !source->closing)
		source->config.handlers->deliver(source->config.ctx, source->deliveries, count);
}

// Rather one message too large than none: a record may exceed what is left of the bytes.
bool source_delivery_allowed(const struct source *source, bool rejected)
{
	if (source->closing)
		return false;
	return rejected ? source->demand_rejected > 0
			: source->demand_messages > 0 && source->demand_bytes > 0;
}

void source_delivery_add(struct source *source, const struct delivery *delivery)
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

void source_delivery_times(const struct log_entry *entry, uint64_t *ret_due_ms,
			   uint64_t *ret_expiry_ms)
{
	struct record_view view;

	*ret_due_ms = 0;
	*ret_expiry_ms = UINT64_MAX;
	if (!(record_flags(entry->record) & (RECORD_DUE | RECORD_TTL)))
		return;
	record_read(entry->record, &view);
	if (view.flags & RECORD_DUE)
		*ret_due_ms = (uint64_t)MAX(view.due_ms, 0);
	// Not from the time of creation: that is what the producer's clock showed.
	if (view.flags & RECORD_TTL)
		*ret_expiry_ms = (view.flags & RECORD_DUE ? *ret_due_ms
							  : (uint64_t)MAX(entry->stored_ms, 0)) +
				 view.ttl_ms;
}
