// Due times: what may be handed out now, what waits here, and what waits at the backend.
//
// A message's own due time and its time to live are by the wall clock: a producer has named that
// time. The delay of an attempt that failed is a span. While it waits at the backend only the wall
// clock connects the owner that wrote and the one that reads it; here, at most HELD_NEAR_MS, it
// runs on the steady clock and does not follow the wall clock when that is set.
//
// Two lists, each ordered by its own clock, take the place of a heap: they hold at most what the
// prefetch allows. Invariant: nothing becomes READY before its time or after its end. Writing back
// is done elsewhere (held_write.c).

#include "adapters/queue/held_due.h"

#include "adapters/queue/held_ack.h"

bool held_due_expire(struct held *held, struct held_item *item)
{
	if (item->expiry_ms >= held->time.wall_ms)
		return false;
	++held->expired;
	held_ack_end(held, item, UINT32_MAX);
	return true;
}

void held_due_ready(struct held *held, struct held_item *item)
{
	if (held_due_expire(held, item))
		return;
	held_state_position_set(held, item);
	held_state_set(held, item, HELD_READY);
	item->due_ms = 0;
	item->order = item->sequence;
	held_state_enlist_by(held, item, item->was_due ? HELD_LIST_DUE : HELD_LIST_NEW);
	if (list_empty(&item->in_age))
		held_state_age(held, item, true);
}

static void wait_until_due(struct held *held, struct held_item *item, uint64_t left_ms)
{
	held_state_position_set(held, item);
	held_state_set(held, item, HELD_WAITING);
	item->order = item->attempts ? held->time.steady_ms + left_ms : item->due_ms;
	held_state_enlist_by(held, item,
			     item->attempts ? HELD_LIST_WAIT_STEADY : HELD_LIST_WAIT_WALL);
}

// A renewal that is on its way is answered first.
static void write_back(struct held *held, struct held_item *item)
{
	held_state_position_drop(held, item);
	list_unlink(&item->in_age);
	if (item->state != HELD_WRITING)
		held_state_set(held, item, HELD_WRITING);
	held_state_enlist(held, item, item->renewing ? HELD_LIST_WRITING : HELD_LIST_TO_WRITE);
}

// At the backend. What was sent when its time had passed has not, and is as new as any other.
static bool has_waited(const struct held_item *item)
{
	return item->due_ms > (uint64_t)MAX(item->stored_ms, 0);
}

// What has no tag is written already: it waits here, however long.
void held_due_place(struct held *held, struct held_item *item)
{
	uint64_t wall_ms = held->time.wall_ms;
	uint64_t left_ms = item->due_ms > wall_ms ? item->due_ms - wall_ms : 0;

	item->was_due = item->was_due || item->attempts || left_ms || has_waited(item);
	if (left_ms > HELD_NEAR_MS && !item->awaited) {
		write_back(held, item);
	} else if (left_ms) {
		wait_until_due(held, item, left_ms);
	} else {
		held_due_ready(held, item);
	}
}

static void wake_list(struct held *held, enum held_list list, uint64_t now_ms)
{
	struct held_item *item;

	while ((item = held_state_first(held, list)) && item->order <= now_ms)
		held_due_ready(held, item);
}

// The wall clock was set back: it would be held for longer than the backend may allow.
static void write_far_back(struct held *held)
{
	const struct list *waiting = &held->lists[HELD_LIST_WAIT_WALL];

	while (!list_empty(waiting)) {
		struct held_item *last = LIST_ENTRY(waiting->prev, struct held_item, in_list);

		if (last->order <= held->time.wall_ms + HELD_NEAR_MS)
			return;
		write_back(held, last);
	}
}

void held_due_tagged(struct held *held, struct held_item *item)
{
	if (item->state == HELD_WAITING && item->list == HELD_LIST_WAIT_STEADY &&
	    item->order > held->time.steady_ms + HELD_NEAR_MS)
		write_back(held, item);
}

void held_due_wake(struct held *held)
{
	write_far_back(held);
	wake_list(held, HELD_LIST_WAIT_STEADY, held->time.steady_ms);
	wake_list(held, HELD_LIST_WAIT_WALL, held->time.wall_ms);
}

uint64_t held_due_next_ms(const struct held *held)
{
	const struct held_item *delay = held_state_first(held, HELD_LIST_WAIT_STEADY),
			       *own = held_state_first(held, HELD_LIST_WAIT_WALL);
	uint64_t next_ms = delay ? delay->order : UINT64_MAX, wall_ms = held->time.wall_ms;

	if (own)
		next_ms = MIN(next_ms, held->time.steady_ms +
					       (own->order > wall_ms ? own->order - wall_ms : 0));
	return next_ms;
}
