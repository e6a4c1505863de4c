// Waiters: one for a settle of any number of messages, answered once when the last of them has
// ended.
//
// The settle itself counts as one while it is applied, so a waiter cannot be answered in the middle
// of it. The worst end of any of its messages is the answer. Invariant: a waiter is counted by each
// member that points at it and by nothing else once it is applied; at 0 it moves to the answered,
// in order, and held_run() calls it. What an end is, is decided by the callers.

#include "adapters/queue/held_waiter.h"

struct held_waiter *held_waiter_new(held_done_fn done, void *ctx)
{
	struct held_waiter *waiter = calloc(1, sizeof *waiter);

	if (waiter)
		*waiter = (struct held_waiter){.done = done, .ctx = ctx, .left = 1};
	return waiter;
}

void held_waiter_add(struct held_waiter *waiter, struct held_item *item)
{
	assert(!item->waiter);
	if (!waiter)
		return;
	item->waiter = waiter;
	++waiter->left;
}

void held_waiter_leave(struct held *held, struct held_waiter *waiter)
{
	if (!waiter)
		return;
	assert(waiter->left > 0);
	if (--waiter->left)
		return;
	waiter->next = NULL;
	*held->answered_end = waiter;
	held->answered_end = &waiter->next;
}

void held_waiter_end(struct held *held, struct held_item *item, enum code code)
{
	struct held_waiter *waiter = item->waiter;

	item->waiter = NULL;
	if (waiter && code != CODE_OK)
		waiter->code = code;
	held_waiter_leave(held, waiter);
}

static struct held_waiter *take_answered(struct held *held)
{
	struct held_waiter *waiter = held->answered;

	if (!waiter)
		return NULL;
	held->answered = waiter->next;
	if (!held->answered)
		held->answered_end = &held->answered;
	return waiter;
}

void held_waiter_tell(struct held *held)
{
	struct held_waiter *waiter;

	while ((waiter = take_answered(held))) {
		waiter->done(waiter->ctx, waiter->code);
		free(waiter);
	}
}

void held_waiter_discard(struct held *held)
{
	struct held_waiter *waiter;

	while ((waiter = take_answered(held)))
		free(waiter);
}
