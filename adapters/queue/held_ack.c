// Acknowledging: batches of tags with a barrier behind each, and limbo.
//
// An acknowledgement has no answer of its own. So at most `acks_max` tags go out, then something
// that the backend answers in order; with that answer all of them are durable, their waiters are
// told, and the next batch begins.
//
// When the channel is lost before that, the backend has carried out an acknowledgement or not.
// What a settle waits for is then in limbo: its delivery comes again and is acknowledged once more,
// or the backend shows that it will not come (held_ack_prove). Two more wait there: what ended
// while a renewal was on its way, because its copy would come again after all; and what ended after
// its renewal was written and before that copy has come.
//
// A message may have more than one delivery here: one whose renewal has not come, and the copy of a
// later attempt. Its end is told when the last of them has ended: what has passed before follows
// it.
//
// Invariants: a member of a batch has a tag of the open channel; nothing is told durable before its
// barrier, or before it is proved that nothing of it is left. Which deliveries are void is kept
// with the id (held_id.c). Nothing is written here.

#include "adapters/queue/held_ack.h"

#include "adapters/queue/held_id.h"
#include "adapters/queue/held_waiter.h"

void held_ack_drop(struct held *held, struct held_item *item, enum code code)
{
	struct held_item *follower;

	for (; item; item = follower) {
		follower = item->follower;
		held_waiter_end(held, item, code);
		held_id_drop(held, item);
		held_state_item_free(held, item);
	}
}

// ---- what has ended

// The oldest that only waits for its delivery gives way.
static void limbo_bound(struct held *held)
{
	LIST_FOREACH(pos, next, &held->lists[HELD_LIST_LIMBO])
	{
		struct held_item *item = LIST_ENTRY(pos, struct held_item, in_list);

		if (held->limbo <= held->limits->ended_max)
			return;
		if (!item->renewing)
			held_ack_drop(held, item, CODE_OVERLOADED);
	}
}

void held_ack_route(struct held *held, struct held_item *item)
{
	assert(item->state == HELD_ACKING);
	if (!item->renewing && item->tag) {
		held_state_enlist(held, item, HELD_LIST_ACKS);
	} else if (item->renewing || item->awaited ||
		   ((item->waiter || item->follower) && !item->anonymous)) {
		item->since_ms = held->time.steady_ms;
		held_state_enlist(held, item, HELD_LIST_LIMBO);
		limbo_bound(held);
	} else {
		held_ack_drop(held, item, CODE_CONNECTION_LOST);
	}
}

void held_ack_end(struct held *held, struct held_item *item, uint32_t below)
{
	held_id_void(item, below);
	if (item->id && item->id->item == item)
		item->id->item = NULL;
	if (!item->renewing)
		held_state_write_drop(held, item);
	held_state_position_drop(held, item);
	held_state_record_drop(held, item);
	list_unlink(&item->in_age);
	held_state_set(held, item, HELD_ACKING);
	held_ack_route(held, item);
}

void held_ack_lesser(struct held *held, struct held_item *item)
{
	held_id_drop(held, item);
	held_ack_end(held, item, 0);
}

static struct held_item *find_limbo(const struct held *held, const struct held_item *arrived)
{
	LIST_FOREACH(pos, next, &held->lists[HELD_LIST_LIMBO])
	{
		struct held_item *item = LIST_ENTRY(pos, struct held_item, in_list);

		if (item->id == arrived->id &&
		    arrived->tag_attempts ==
			    (item->renewing ? item->write_attempts : item->tag_attempts))
			return item;
	}
	return NULL;
}

void held_ack_void(struct held *held, struct held_item *item)
{
	struct held_item *awaiting = find_limbo(held, item);

	if (!awaiting) {
		held_ack_lesser(held, item);
		return;
	}
	held_state_tag_swap(awaiting, item);
	held_state_await(held, awaiting, false);
	if (item->tag)
		held_ack_lesser(held, item); // a renewal that comes before its confirmation
	else
		held_ack_drop(held, item, CODE_OK);
	held_ack_route(held, awaiting);
}

void held_ack_prove(struct held *held)
{
	LIST_FOREACH(pos, next, &held->lists[HELD_LIST_LIMBO])
	{
		struct held_item *item = LIST_ENTRY(pos, struct held_item, in_list);

		if (!item->renewing && !item->awaited)
			held_ack_drop(held, item, CODE_OK);
	}
}

void held_ack_prove_idle(struct held *held, uint64_t since_ms)
{
	LIST_FOREACH(pos, next, &held->lists[HELD_LIST_LIMBO])
	{
		struct held_item *item = LIST_ENTRY(pos, struct held_item, in_list);

		if (!item->renewing &&
		    held->time.steady_ms >= MAX(since_ms, item->since_ms) + HELD_PROOF_MS)
			held_ack_drop(held, item, CODE_OK);
	}
}

uint64_t held_ack_limbo_since_ms(const struct held *held)
{
	LIST_FOREACH(pos, next, &held->lists[HELD_LIST_LIMBO])
	{
		const struct held_item *item = LIST_ENTRY(pos, struct held_item, in_list);

		if (!item->renewing)
			return item->since_ms;
	}
	return UINT64_MAX;
}

// ---- batches

void held_ack_send(struct held *held)
{
	uint64_t tags[HELD_ACKS_MAX];
	struct held_item *item;
	size_t count = 0;

	if (!held->open || held->barrier)
		return;
	while (count < held->limits->acks_max && (item = held_state_first(held, HELD_LIST_ACKS))) {
		assert(item->tag > 0);
		tags[count++] = item->tag;
		held_state_enlist(held, item, HELD_LIST_SENT);
	}
	if (!count)
		return;
	held->barrier = true;
	held->ops->ack(held->ctx, tags, count);
	held->ops->barrier(held->ctx);
}

// Another delivery of its message that is not acknowledged for certain.
static struct held_item *find_other(const struct held *held, const struct held_item *item)
{
	static const enum held_list lists[] = {HELD_LIST_LIMBO, HELD_LIST_ACKS, HELD_LIST_SENT};

	for (size_t i = 0; i < ARRAY_SIZE(lists) && held_id_shared(item); ++i) {
		LIST_FOREACH(pos, next, &held->lists[lists[i]])
		{
			struct held_item *other = LIST_ENTRY(pos, struct held_item, in_list);

			if (other != item && other->id == item->id)
				return other;
		}
	}
	return NULL;
}

static void end_behind(struct held *held, struct held_item *item, struct held_item *other)
{
	held_state_tag_take(held, item);
	held_state_delist(held, item);
	while (other->follower)
		other = other->follower;
	other->follower = item;
}

void held_ack_passed(struct held *held)
{
	struct held_item *item, *other;

	assert(held->barrier);
	held->barrier = false;
	while ((item = held_state_first(held, HELD_LIST_SENT))) {
		other = item->waiter || item->follower ? find_other(held, item) : NULL;
		if (other)
			end_behind(held, item, other);
		else
			held_ack_drop(held, item, CODE_OK);
	}
}

// ---- the loss

static void lose_acks(struct held *held, enum held_list list)
{
	LIST_FOREACH(pos, next, &held->lists[list])
	{
		struct held_item *item = LIST_ENTRY(pos, struct held_item, in_list);

		held_state_tag_take(held, item);
		held_ack_route(held, item);
	}
}

void held_ack_lost(struct held *held)
{
	held->barrier = false;
	LIST_FOREACH(pos, next, &held->lists[HELD_LIST_LIMBO])
	{
		held_state_tag_take(held, LIST_ENTRY(pos, struct held_item, in_list));
	}
	lose_acks(held, HELD_LIST_SENT);
	lose_acks(held, HELD_LIST_ACKS);
}
