// The messages of a partition in flight: a hash table keyed by offset.
//
// Open addressing with Robin Hood order: entries of a run stand in the order of their home slots.
// The home slot is the offset itself. Offsets in flight are nearly consecutive, so almost every
// entry stands at home, a search is one comparison, and a removal ends at the next entry that is at
// home.

#include "proxy/engine/flight.h"

#include "core/base/util.h"

#include <errno.h>

#define FLIGHT_ROOM_MIN 16

static size_t slot_distance(const struct flight_map *map, size_t at)
{
	return (at - (size_t)map->slots[at].offset) & (map->room - 1);
}

void flight_map_deinit(struct flight_map *map)
{
	free(map->slots);
	*map = (struct flight_map){0};
}

// Makes the place for an offset that is not in the map.
static struct flight *insert_entry(struct flight_map *map, uint64_t offset)
{
	size_t mask = map->room - 1, at = (size_t)offset & mask, hole;

	for (size_t steps = 0;
	     map->slots[at].state != FLIGHT_FREE && slot_distance(map, at) >= steps; ++steps)
		at = (at + 1) & mask;
	for (hole = at; map->slots[hole].state != FLIGHT_FREE;)
		hole = (hole + 1) & mask;
	for (; hole != at; hole = (hole - 1) & mask)
		map->slots[hole] = map->slots[(hole - 1) & mask];
	map->slots[at] = (struct flight){.offset = offset};
	++map->count;
	return &map->slots[at];
}

static int resize_map(struct flight_map *map, size_t room)
{
	struct flight_map grown = {.slots = calloc(room, sizeof *grown.slots), .room = room};

	if (!grown.slots)
		return -ENOMEM;
	for (size_t i = 0; i < map->room; ++i)
		if (map->slots[i].state != FLIGHT_FREE)
			*insert_entry(&grown, map->slots[i].offset) = map->slots[i];
	free(map->slots);
	*map = grown;
	return 0;
}

int flight_map_reserve(struct flight_map *map, size_t more)
{
	size_t room = MAX(map->room, FLIGHT_ROOM_MIN);

	while ((map->count + more) * 4 > room * 3)
		room *= 2;
	return room == map->room ? 0 : resize_map(map, room);
}

struct flight *flight_map_find(struct flight_map *map, uint64_t offset)
{
	size_t mask = map->room - 1, at = (size_t)offset & mask;

	if (map->room == 0)
		return NULL;
	for (size_t steps = 0;; ++steps) {
		struct flight *flight = &map->slots[at];

		if (flight->state == FLIGHT_FREE)
			return NULL;
		if (flight->offset == offset)
			return flight;
		if (slot_distance(map, at) < steps)
			return NULL;
		at = (at + 1) & mask;
	}
}

struct flight *flight_map_put(struct flight_map *map, uint64_t offset)
{
	struct flight *flight = flight_map_find(map, offset);

	return flight ? flight : insert_entry(map, offset);
}

void flight_map_remove(struct flight_map *map, struct flight *flight)
{
	size_t mask = map->room - 1, at = (size_t)(flight - map->slots), next = (at + 1) & mask;

	assert(flight->state != FLIGHT_FREE);
	while (map->slots[next].state != FLIGHT_FREE && slot_distance(map, next) > 0) {
		map->slots[at] = map->slots[next];
		at = next;
		next = (next + 1) & mask;
	}
	map->slots[at].state = FLIGHT_FREE;
	--map->count;
}
