// Where unauthenticated connections come from: how many of an address and its prefixes there are,
// and which of them gives way to a newcomer.
#pragma once

#include "core/base/list.h"

#include <stdint.h>

#define SOURCE_LEVELS 4u // prefixes of an address that are counted

struct source_item {
	struct list age;     // member of sources->ages; alone: not counted
	uint8_t address[16]; // IPv4 as ::ffff:a.b.c.d
};

// One thread's.
struct sources {
	struct list ages; // the oldest first
	uint32_t count;
	uint64_t seed;
	uint32_t *rows; // counters, by level and hash of the prefix
};

int sources_init(struct sources *sources); // -ENOMEM
void sources_deinit(struct sources *sources);

void source_item_init(struct source_item *item);
void sources_enter(struct sources *sources, struct source_item *item, const uint8_t address[16]);
void sources_leave(struct sources *sources, struct source_item *item); // also one that is not there
// The connection that gives way to a newcomer from that address; NULL: none, the newcomer's own
// address weighs most.
struct source_item *sources_victim(const struct sources *sources, const uint8_t address[16]);

struct sockaddr;
void source_address(const struct sockaddr *address, uint8_t ret[16]); // zeroes for another kind
