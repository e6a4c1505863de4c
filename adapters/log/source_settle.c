// Applies settles: the outcome of a message that was handed out changes the window, or the retry
// store when the message has left the window.
//
// A settle names partition, offset and attempt, and the epoch in which the message was handed out:
// one of another epoch, or of an attempt that has ended, changes nothing and is STALE. An attempt
// that fails stays in the window when its delay is at most WINDOW_DELAY_MAX_MS and the window has a
// mark free; else it goes to the retry store.
//
// Invariant: a settle that is counted as settled has changed exactly one of the two. A caller that
// waits for it is called when the change is durable (source_commit.c); nothing is handed out here.

#include "adapters/log/source_settle.h"

#include "adapters/log/source_clock.h"
#include "adapters/log/source_commit.h"
#include "adapters/log/source_retry.h"
#include "adapters/log/source_state.h"

#define SETTLE_MAX (4 * WINDOW_POSITIONS) // of one run; a longer one cannot be right

// The attempt has ended and the window is not the place to wait: a row of the retry store.
static bool nack_to_store(struct part *part, const struct settle *settle, uint64_t offset,
			  uint64_t due_ms)
{
	struct retry_inflight *inflight =
		source_retry_put(part, offset, settle->attempt, due_ms, false);

	if (!inflight)
		return false; // no memory: it stays in flight, and comes again when reopened
	inflight->rejected = inflight->state == INFLIGHT_MOVING && settle->verb == SETTLE_REJECT;
	window_ack(&part->window, offset, settle->attempt);
	return true;
}

static bool nack_one(struct part *part, const struct settle *settle, uint64_t offset,
		     uint64_t now_ms)
{
	uint64_t due_ms =
		settle->verb == SETTLE_NACK && settle->delay_ms ? now_ms + settle->delay_ms : 0;
	enum window_result result = WINDOW_CROWDED;

	if (settle->verb == SETTLE_REJECT)
		result = window_reject(&part->window, offset, settle->attempt);
	else if (settle->delay_ms <= WINDOW_DELAY_MAX_MS)
		result = window_nack(&part->window, offset, settle->attempt, due_ms);
	else if (!window_in_flight(&part->window, offset, settle->attempt))
		result = WINDOW_STALE;
	if (result == WINDOW_CROWDED)
		return nack_to_store(part, settle, offset, due_ms);
	return result == WINDOW_OK;
}

static bool settle_one(struct part *part, const struct settle *settle, uint64_t offset,
		       uint64_t now_ms)
{
	bool done = false;

	if (settle->verb == SETTLE_ACK || settle->verb == SETTLE_DEAD)
		done = window_ack(&part->window, offset, settle->attempt) == WINDOW_OK;
	else if (settle->verb == SETTLE_NACK || settle->verb == SETTLE_REJECT)
		done = nack_one(part, settle, offset, now_ms);
	else if (settle->verb == SETTLE_RELEASE)
		done = window_release(&part->window, offset, settle->attempt) == WINDOW_OK;
	done = done || source_retry_settle(part, settle, offset, now_ms);
	part->window.counts.dead += done && settle->verb == SETTLE_DEAD;
	return done;
}

static void settle_entry(struct source *source, struct settle *settle, uint64_t now_ms)
{
	struct part *part =
		settle->partition < source->part_count ? &source->parts[settle->partition] : NULL;

	uint32_t count = MIN(settle->count, SETTLE_MAX);

	settle->settled = 0;
	if (part && settle->epoch == source->epoch && source->phase == PHASE_OPEN)
		for (uint32_t at = 0; at < count; ++at)
			settle->settled += settle_one(part, settle, settle->offset + at, now_ms);
	settle->code = settle->settled == settle->count ? CODE_OK : CODE_STALE;
	if (settle->settled)
		source_state_mark_dirty(part);
}

void log_source_settle(struct source *source, struct settle *settles, size_t count,
		       void (*done)(void *ctx, enum code code), void *ctx)
{
	uint64_t now_ms = source_clock_read(source).steady_ms;

	for (size_t i = 0; i < count; ++i)
		settle_entry(source, &settles[i], now_ms);
	if (done && !source_commit_add_waiter(source, done, ctx))
		done(ctx, CODE_OVERLOADED); // applied, but there is no memory to wait with
	source_state_pump_later(source);
}
