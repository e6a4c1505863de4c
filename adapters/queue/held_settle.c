// Settling: what a consumer says of a delivery becomes its next state.
//
// A settle names partition, offset, attempt and epoch. Whatever is not exactly a member that is out
// under this attempt on the open channel is STALE and changes nothing. What is out for its
// dead-letter copy can only end or be released: its last attempt is over.
//
// Invariant: an attempt that has ended is counted at once, and told durable only when it is in the
// backend (held_write.c, held_ack.c). A rejection is kept here alone: when the source ends before
// the dead-letter copy is confirmed, the original was not acknowledged and comes again.

#include "adapters/queue/held_settle.h"

#include "adapters/queue/held_ack.h"
#include "adapters/queue/held_due.h"
#include "adapters/queue/held_id.h"
#include "adapters/queue/held_waiter.h"

static void end_message(struct held *held, struct held_item *item, bool dead,
			struct held_waiter *waiter)
{
	held->dead += dead;
	held->acked += !dead;
	held_waiter_add(waiter, item);
	held_ack_end(held, item, UINT32_MAX);
}

static void reject(struct held *held, struct held_item *item)
{
	++item->attempts;
	held_state_set(held, item, HELD_REJECTED);
	item->order = item->sequence;
	held_state_enlist_by(held, item, HELD_LIST_REJECTED);
}

// A renewal that is on its way is answered first.
static void nack(struct held *held, struct held_item *item, uint32_t delay_ms,
		 struct held_waiter *waiter)
{
	++item->attempts;
	item->due_ms = delay_ms ? held->time.wall_ms + delay_ms : 0;
	held_waiter_add(waiter, item);
	held_state_position_drop(held, item);
	list_unlink(&item->in_age);
	held_state_set(held, item, HELD_WRITING);
	held_state_enlist(held, item, item->renewing ? HELD_LIST_WRITING : HELD_LIST_TO_WRITE);
}

static bool settle_flight(struct held *held, struct held_item *item, const struct settle *settle,
			  struct held_waiter *waiter)
{
	switch (settle->verb) {
	case SETTLE_ACK:
	case SETTLE_DEAD: end_message(held, item, settle->verb == SETTLE_DEAD, waiter); return true;
	case SETTLE_NACK: nack(held, item, settle->delay_ms, waiter); return true;
	case SETTLE_REJECT: reject(held, item); return true;
	case SETTLE_RELEASE: held_due_place(held, item); return true;
	default: return false;
	}
}

static bool settle_copying(struct held *held, struct held_item *item, const struct settle *settle,
			   struct held_waiter *waiter)
{
	switch (settle->verb) {
	case SETTLE_ACK:
	case SETTLE_DEAD: end_message(held, item, settle->verb == SETTLE_DEAD, waiter); return true;
	case SETTLE_RELEASE:
		held_state_set(held, item, HELD_REJECTED);
		item->order = item->sequence;
		held_state_enlist_by(held, item, HELD_LIST_REJECTED);
		return true;
	default: return false;
	}
}

static bool settle_one(struct held *held, const struct settle *settle, uint64_t offset,
		       struct held_waiter *waiter)
{
	struct held_item *item = held_state_at(held, settle->partition, offset);

	if (!item || item->attempt != settle->attempt)
		return false;
	if (item->state == HELD_FLIGHT)
		return settle_flight(held, item, settle, waiter);
	return item->state == HELD_COPYING && settle_copying(held, item, settle, waiter);
}

void held_settle_entry(struct held *held, struct settle *settle, struct held_waiter *waiter)
{
	uint32_t count = MIN(settle->count, 2 * held->limits->messages_max); // no more can be held

	settle->settled = 0;
	if (held->open && !held->closing && settle->epoch == held->epoch)
		for (uint32_t at = 0; at < count; ++at)
			settle->settled += settle_one(held, settle, settle->offset + at, waiter);
	settle->code = settle->settled == settle->count ? CODE_OK : CODE_STALE;
}
