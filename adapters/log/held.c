// A chained hash that doubles when it is as full as it has slots.

#include "adapters/log/held.h"

#define ROOM_MIN 64u

void held_set_init(struct held_set *set)
{
	*set = (struct held_set){0};
	list_init(&set->ready);
	list_init(&set->settled);
}

static struct held **slot_of(const struct held_set *set, uint32_t partition, uint64_t offset)
{
	uint64_t hash = (offset ^ (uint64_t)partition << 44) * 0x9e3779b97f4a7c15ull;

	return &set->slots[(uint32_t)(hash >> 32) & (set->room - 1)];
}

static bool grow(struct held_set *set)
{
	uint32_t old_room = set->room;
	struct held **old = set->slots, **slots;

	slots = calloc(old_room ? 2 * old_room : ROOM_MIN, sizeof(struct held *));
	if (!slots)
		return false;
	set->slots = slots;
	set->room = old_room ? 2 * old_room : ROOM_MIN;
	for (uint32_t i = 0; i < old_room; ++i) {
		for (struct held *held = old[i], *next; held; held = next) {
			struct held **slot = slot_of(set, held->partition, held->offset);

			next = held->next;
			held->next = *slot;
			*slot = held;
		}
	}
	free(old);
	return true;
}

struct held *held_find(const struct held_set *set, uint32_t partition, uint64_t offset)
{
	struct held *held;

	if (set->count == 0)
		return NULL;
	held = *slot_of(set, partition, offset);
	while (held && (held->offset != offset || held->partition != partition))
		held = held->next;
	return held;
}

struct held *held_add(struct held_set *set, uint32_t partition, uint64_t offset)
{
	struct held *held, **slot;

	if (set->count >= set->room && !grow(set))
		return NULL;
	held = calloc(1, sizeof *held);
	if (!held)
		return NULL;
	held->partition = partition;
	held->offset = offset;
	list_init(&held->in_set);
	slot = slot_of(set, partition, offset);
	held->next = *slot;
	*slot = held;
	++set->count;
	return held;
}

void held_remove(struct held_set *set, struct held *held)
{
	struct held **at = slot_of(set, held->partition, held->offset);

	while (*at != held)
		at = &(*at)->next;
	*at = held->next;
	--set->count;
	list_unlink(&held->in_set);
	buf_unref(held->buf);
	free(held);
}

void held_set_deinit(struct held_set *set)
{
	for (uint32_t i = 0; i < set->room; ++i)
		while (set->slots[i])
			held_remove(set, set->slots[i]);
	free(set->slots);
}
