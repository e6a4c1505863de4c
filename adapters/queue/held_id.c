// Ids of messages: of those that are held, and of those that have ended.
//
// An id is in the table while a member of the set refers to it, and afterwards while deliveries of
// it are void: then it is in the list of ended ones, from which the oldest is forgotten when there
// are more than the limit. It outlives the channel, so it recognizes what comes again.
//
// Invariants: an id is in the list exactly when it has no reference; at most one member with the id
// is not ACKING, and that is `item`. The table doubles when it has as many ids as slots, and stays
// so; without memory for that the chains become longer. What is void is decided by the callers.

#include "adapters/queue/held_id.h"

#include <errno.h>

#define ROOM_MIN 64u // slots

int held_id_init(struct held *held)
{
	struct held_ids *ids = &held->ids;

	list_init(&ids->ended);
	ids->room = ROOM_MIN;
	ids->slots = calloc(ids->room, sizeof *ids->slots);
	return ids->slots ? 0 : -ENOMEM;
}

static struct held_id **slot_of(const struct held_ids *ids, const uint8_t *id)
{
	return &ids->slots[record_id_hash(id) & (ids->room - 1)];
}

static void forget(struct held_ids *ids, struct held_id *id)
{
	struct held_id **at = slot_of(ids, id->id);

	assert(!id->refs && !id->item);
	while (*at != id)
		at = &(*at)->next;
	*at = id->next;
	--ids->count;
	free(id);
}

static void forget_oldest(struct held_ids *ids)
{
	struct held_id *oldest = LIST_ENTRY(ids->ended.next, struct held_id, in_ended);

	list_unlink(&oldest->in_ended);
	--ids->ended_count;
	forget(ids, oldest);
}

void held_id_deinit(struct held *held)
{
	while (held->ids.ended_count)
		forget_oldest(&held->ids);
	free(held->ids.slots);
}

static void place(struct held_ids *ids, struct held_id *id)
{
	struct held_id **slot = slot_of(ids, id->id);

	id->next = *slot;
	*slot = id;
}

static void grow(struct held_ids *ids)
{
	struct held_id **slots = ids->slots, *id, *next;
	uint32_t room = ids->room;

	ids->slots = calloc(2 * (size_t)room, sizeof(struct held_id *));
	if (!ids->slots) {
		ids->slots = slots;
		return;
	}
	ids->room = 2 * room;
	for (uint32_t i = 0; i < room; ++i) {
		for (id = slots[i]; id; id = next) {
			next = id->next;
			place(ids, id);
		}
	}
	free(slots);
}

static struct held_id *add(struct held_ids *ids, const uint8_t *id)
{
	struct held_id *added = calloc(1, sizeof *added);

	if (!added)
		return NULL;
	if (ids->count == ids->room)
		grow(ids);
	memcpy(added->id, id, sizeof added->id);
	list_init(&added->in_ended);
	place(ids, added);
	++ids->count;
	return added;
}

int held_id_of(struct held *held, const uint8_t *id, struct held_item *item)
{
	struct held_ids *ids = &held->ids;
	struct held_id *found = *slot_of(ids, id);

	while (found && memcmp(found->id, id, sizeof found->id) != 0)
		found = found->next;
	if (!found)
		found = add(ids, id);
	if (!found)
		return -ENOMEM;
	if (!list_empty(&found->in_ended)) {
		list_unlink(&found->in_ended);
		--ids->ended_count;
	}
	++found->refs;
	item->id = found;
	return 0;
}

void held_id_drop(struct held *held, struct held_item *item)
{
	struct held_ids *ids = &held->ids;
	struct held_id *id = item->id;

	if (!id)
		return;
	item->id = NULL;
	if (id->item == item)
		id->item = NULL;
	assert(id->refs > 0);
	if (--id->refs)
		return;
	if (!id->void_below) {
		forget(ids, id);
		return;
	}
	list_push_back(&ids->ended, &id->in_ended);
	if (++ids->ended_count > held->limits->ended_max)
		forget_oldest(ids);
}

bool held_id_shared(const struct held_item *item)
{
	return item->id && item->id->refs > 1;
}

void held_id_void(struct held_item *item, uint32_t below)
{
	if (item->id)
		item->id->void_below = MAX(item->id->void_below, below);
}
