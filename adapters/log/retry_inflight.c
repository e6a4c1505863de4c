// The set of messages of the retry store that are out of it, or have a row that is being written.
//
// The store is read a stretch at a time, and a write of it is durable only later. So a read may
// bring outdated rows. This set names the messages whose rows may be outdated, so that the reader
// skips them (source_retry.c).
//
// A chained hash by partition and offset, which doubles when it holds as many as it has slots; it
// never shrinks, because it lives as long as its source. Invariants: `count` is the number in the
// slots, and one position is there at most once. The lists and their counts are the user's; a
// message that is removed only leaves the list that it is in. Neither states nor writes are changed
// here.

#include "adapters/log/retry_inflight.h"

#define ROOM_MIN 64u

void retry_inflight_set_init(struct retry_inflight_set *set)
{
	*set = (struct retry_inflight_set){0};
	list_init(&set->ready);
	list_init(&set->settled);
}

static struct retry_inflight **slot_of(const struct retry_inflight_set *set, uint32_t partition,
				       uint64_t offset)
{
	uint64_t hash = (offset ^ (uint64_t)partition << 44) * 0x9e3779b97f4a7c15ull;

	return &set->slots[(uint32_t)(hash >> 32) & (set->room - 1)];
}

static bool grow_slots(struct retry_inflight_set *set)
{
	uint32_t old_room = set->room;
	struct retry_inflight **old = set->slots, **slots;

	slots = calloc(old_room ? 2 * old_room : ROOM_MIN, sizeof(struct retry_inflight *));
	if (!slots)
		return false;
	set->slots = slots;
	set->room = old_room ? 2 * old_room : ROOM_MIN;
	for (uint32_t i = 0; i < old_room; ++i) {
		for (struct retry_inflight *inflight = old[i], *next; inflight; inflight = next) {
			struct retry_inflight **slot =
				slot_of(set, inflight->partition, inflight->offset);

			next = inflight->next;
			inflight->next = *slot;
			*slot = inflight;
		}
	}
	free(old);
	return true;
}

struct retry_inflight *retry_inflight_find(const struct retry_inflight_set *set, uint32_t partition,
					   uint64_t offset)
{
	struct retry_inflight *inflight;

	if (set->count == 0)
		return NULL;
	inflight = *slot_of(set, partition, offset);
	while (inflight && (inflight->offset != offset || inflight->partition != partition))
		inflight = inflight->next;
	return inflight;
}

struct retry_inflight *retry_inflight_add(struct retry_inflight_set *set, uint32_t partition,
					  uint64_t offset)
{
	struct retry_inflight *inflight, **slot;

	if (set->count >= set->room && !grow_slots(set))
		return NULL;
	inflight = calloc(1, sizeof *inflight);
	if (!inflight)
		return NULL;
	inflight->partition = partition;
	inflight->offset = offset;
	list_init(&inflight->in_set);
	slot = slot_of(set, partition, offset);
	inflight->next = *slot;
	*slot = inflight;
	++set->count;
	return inflight;
}

void retry_inflight_remove(struct retry_inflight_set *set, struct retry_inflight *inflight)
{
	struct retry_inflight **at = slot_of(set, inflight->partition, inflight->offset);

	while (*at != inflight)
		at = &(*at)->next;
	*at = inflight->next;
	--set->count;
	list_unlink(&inflight->in_set);
	buf_unref(inflight->buf);
	free(inflight);
}

void retry_inflight_set_deinit(struct retry_inflight_set *set)
{
	for (uint32_t i = 0; i < set->room; ++i)
		while (set->slots[i])
			retry_inflight_remove(set, set->slots[i]);
	free(set->slots);
}
