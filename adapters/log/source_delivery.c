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

void source_delivery_flush(struct source *source)
{
	size_t count = source->delivery_count;

	source->delivery_count = 0;
	if (count && !source->closing)
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
