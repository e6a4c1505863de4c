// A hash map from 64-bit ids to nodes that their owners embed.
//
// Buckets are chains. The number of buckets doubles when there are as many members, and the map
// gives all memory back when it is empty. Ids often count up, so they are spread by a
// multiplication with 2^64 divided by the golden ratio.
//
// Invariant: `room` is 0 or a power of two. The map frees no nodes.

#include "core/base/map.h"

#include <errno.h>

#define MAP_ROOM_MIN 4

static size_t bucket_of(const struct map *map, uint64_t key)
{
	return (size_t)((key * 0x9E3779B97F4A7C15ull) >> 32) & (map->room - 1);
}

void map_deinit(struct map *map)
{
	free(map->buckets);
	*map = (struct map){0};
}

static int map_grow(struct map *map)
{
	struct map grown = {.room = map->room ? map->room * 2 : MAP_ROOM_MIN, .count = map->count};

	grown.buckets = calloc(grown.room, sizeof *grown.buckets);
	if (!grown.buckets)
		return -ENOMEM;
	for (size_t i = 0; i < map->room; ++i) {
		for (struct map_node *node = map->buckets[i], *next; node; node = next) {
			struct map_node **bucket = &grown.buckets[bucket_of(&grown, node->key)];

			next = node->next;
			node->next = *bucket;
			*bucket = node;
		}
	}
	free(map->buckets);
	*map = grown;
	return 0;
}

struct map_node *map_find(const struct map *map, uint64_t key)
{
	struct map_node *node;

	if (map->count == 0)
		return NULL;
	for (node = map->buckets[bucket_of(map, key)]; node && node->key != key; node = node->next)
		;
	return node;
}

int map_put(struct map *map, struct map_node *node)
{
	struct map_node **bucket;

	if (map->count == map->room && map_grow(map) < 0 && map->room == 0)
		return -ENOMEM; // a map that has buckets works on with longer chains
	bucket = &map->buckets[bucket_of(map, node->key)];
	node->next = *bucket;
	*bucket = node;
	++map->count;
	return 0;
}

void map_remove(struct map *map, struct map_node *node)
{
	struct map_node **link = &map->buckets[bucket_of(map, node->key)];

	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	node->next = NULL;
	if (--map->count == 0)
		map_deinit(map);
}

struct map_node *map_next(const struct map *map, size_t *cursor, struct map_node **next)
{
	struct map_node *node = *next;

	while (!node && *cursor < map->room)
		node = map->buckets[(*cursor)++];
	if (node)
		*next = node->next;
	return node;
}
