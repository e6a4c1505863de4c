// Delivers messages: spends the demand of the source's opener, and calls its handler with up to
// SOURCE_BATCH messages at a time.
//
// It lies below the two files that deliver, source.c (messages of the windows) and source_retry.c
// (messages of the retry store), and knows neither. Invariants: nothing is handed out beyond
// demand, except that the last message may exceed what is left of the bytes; nothing once the
// source is closing or gone; a delivery that was added points into its buffer until the flush, so
// its caller keeps the buffer until then and flushes before releasing it. Which state a message is
// in, and whether its time has come, is decided by the callers.

#include "adapters/log/source_delivery.h"

void source_delivery_flush(struct source *source)
{
	size_t count = source->delivery_count;

	source->delivery_count = 0;
	if (count && !source->closing && source->phase != PHASE_GONE)
		source->config.handlers->deliver(source->config.ctx, source->deliveries, count);
}

void source_delivery_times_read(const struct log_entry *entry, uint64_t *ret_due_ms,
				uint64_t *ret_expiry_ms)
{
	struct record_view view;

	record_read(entry->record, &view);
	if (view.flags & RECORD_DUE)
		*ret_due_ms = (uint64_t)MAX(view.due_ms, 0);
	// Not from the time of creation: that is what the producer's clock showed.
	if (view.flags & RECORD_TTL)
		*ret_expiry_ms = (view.flags & RECORD_DUE ? *ret_due_ms
							  : (uint64_t)MAX(entry->stored_ms, 0)) +
				 view.ttl_ms;
}
