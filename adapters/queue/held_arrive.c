// Arrivals: a new member, or one delivery more of a message that is known.
//
// A message can be at the backend twice: a copy beside its original, or a copy that was written
// once more because a write ended in doubt. Of two deliveries the one with more attempts is kept,
// and the other is acknowledged without being handed out; of equal ones the one that comes later is
// kept, which is how a renewal takes the place of what it renews. One that is out at a consumer
// stays there and only changes its tag, so its receipt stays good.
//
// Attempts are compared with what the backend's message says (tag_attempts), not with what is known
// here: what is acknowledged must leave behind a message that says as much.
//
// Invariants: a delivery is a member with its tag, or the tag is acknowledged by one; without
// memory it is left unacknowledged, and so is everything behind it, until the channel is opened
// anew. What comes first of those that were not handed out before shows that nothing is given back
// any more.

#include "adapters/queue/held_arrive.h"

#include "adapters/queue/held_ack.h"
#include "adapters/queue/held_due.h"
#include "adapters/queue/held_id.h"

#define ATTEMPTS_MAX 1000000000u // what is above was written by another client

static uint64_t expiry_of(const struct queue_arrival *arrival)
{
	struct record_view view;
	int64_t from_ms;

	if (!(record_flags(arrival->record) & RECORD_TTL))
		return UINT64_MAX;
	record_read(arrival->record, &view);
	from_ms = view.flags & RECORD_DUE ? view.due_ms : arrival->stored_ms;
	return (uint64_t)MAX(from_ms, 0) + view.ttl_ms;
}

static struct held_item *item_make(struct held *held, const struct queue_arrival *arrival)
{
	struct held_item *item = held_state_item_new(held);

	if (!item)
		return NULL;
	if (held_id_of(held, record_id(arrival->record), item) < 0) {
		held_state_item_free(held, item);
		return NULL;
	}
	held_state_record_keep(held, item, arrival->buf, arrival->record);
	held_state_tag_set(held, item, arrival->tag, arrival->from_retry);
	item->partition = arrival->partition;
	item->attempts = item->tag_attempts = MIN(arrival->attempts, ATTEMPTS_MAX);
	item->due_ms = arrival->due_ms;
	item->stored_ms = arrival->stored_ms;
	item->expiry_ms = expiry_of(arrival);
	item->anonymous = arrival->anonymous;
	return item;
}

static void hold(struct held *held, struct held_item *item)
{
	assert(!item->id->item);
	item->id->item = item;
	held_due_place(held, item);
	held_state_age(held, item, false);
}

// The member goes on with the tag of what has come.
static void take_tag(struct held *held, struct held_item *item, struct held_item *arrived)
{
	held_state_tag_swap(item, arrived);
	item->since_ms = held->time.steady_ms;
	item->tag_attempts = arrived->tag_attempts;
	item->attempts = MAX(item->attempts, arrived->attempts);
	item->lost = false;
	item->anonymous = arrived->anonymous;
	held_state_await(held, item, false);
	if (!item->buf)
		held_state_record_keep(held, item, arrived->buf, arrived->record);
	held_state_age(held, item, false);
	held_due_tagged(held, item);
	if (arrived->tag)
		held_ack_lesser(held, arrived);
	else
		held_ack_drop(held, arrived, CODE_OK);
}

// What has come says more than what is held.
static void supersede(struct held *held, struct held_item *item, struct held_item *arrived)
{
	held_id_void(arrived, arrived->attempts);
	if (item->state == HELD_FLIGHT || item->state == HELD_REJECTED ||
	    item->state == HELD_COPYING) {
		item->due_ms = arrived->due_ms;
		take_tag(held, item, arrived);
		return;
	}
	held_ack_end(held, item, arrived->attempts);
	hold(held, arrived);
}

static void merge(struct held *held, struct held_item *item, struct held_item *arrived)
{
	if (arrived->attempts < item->tag_attempts)
		held_ack_lesser(held, arrived);
	else if (arrived->attempts == item->tag_attempts)
		take_tag(held, item, arrived);
	else
		supersede(held, item, arrived);
}

static void note_size(struct held_consumption *use, uint32_t size)
{
	use->largest = MAX(size, use->largest - (use->largest >> 8));
}

void held_arrive(struct held *held, const struct queue_arrival *arrival)
{
	struct held_item *item = item_make(held, arrival);

	if (!item) {
		held->broken = true;
		return;
	}
	note_size(&held->use, item->size);
	held->use.proof_since_ms = UINT64_MAX;
	if (!arrival->given_back)
		held_ack_prove(held);
	if (item->attempts < item->id->void_below)
		held_ack_void(held, item);
	else if (item->id->item)
		merge(held, item->id->item, item);
	else
		hold(held, item);
}
