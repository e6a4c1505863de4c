// Intrusive hash map from a 64-bit id: the members bring their own links, so only growing
// allocates.
#pragma once

#include "core/base/util.h"

#include <stdbool.h>

struct map_node {
	uint64_t key;
	struct map_node *next;
};

struct map {
	struct map_node **buckets;
	size_t room, count; // room: 0 or a power of two
};

void map_deinit(struct map *map);                               // the members are not touched
struct map_node *map_find(const struct map *map, uint64_t key); // NULL: none
int map_put(struct map *map,
	    struct map_node *node); // its key must be set and not be there; -ENOMEM
void map_remove(struct map *map, struct map_node *node);

// Every member in no order; NULL: no more. Start with *cursor = 0 and *next = NULL. The one
// returned may be removed before the next call, no other.
struct map_node *map_next(const struct map *map, size_t *cursor, struct map_node **next);
