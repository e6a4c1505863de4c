// The incidents of a store in memory: what was found damaged, until an operator has dealt with it.
//
// All functions take the lock of the list themselves. @thread any
#pragma once

#include "adapters/answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum damage_kind {
	DAMAGE_MESSAGES,  // offsets that cannot be read
	DAMAGE_PARTITION, // its first offset, end and size; they were taken from its chunks
	DAMAGE_TOPIC,     // its row
	DAMAGE_GROUP,     // its row
	DAMAGE_CURSOR,    // the position of a group
	DAMAGE_RETRY,     // a message that waits in the retry store of a group
	DAMAGE_TABLE,     // pages of one of its tables: LMDB cannot walk through it
	DAMAGE_KINDS
};

struct damage {
	enum damage_kind kind;
	uint64_t topic; // 0: not known
	uint64_t group; // 0: none
	uint32_t partition;
	uint64_t first, end; // offsets
	int64_t found_ms;    // filled in by damage_report()
};

#define DAMAGE_OF_TOPIC (1u << DAMAGE_MESSAGES | 1u << DAMAGE_PARTITION)
#define DAMAGE_ANY      UINT32_MAX

struct damage_list;

struct damage_list *damage_list_new(void);       // NULL: no memory
void damage_list_free(struct damage_list *list); // accepts NULL

// A find, copied. false: it is known already, and nothing is done; else it is counted, also when
// the list is full.
bool damage_list_add(struct damage_list *list, const struct damage *damage);
// One that an earlier process found: it is not counted. false: the list is full.
bool damage_list_restore(struct damage_list *list, const struct damage *damage);
// Those of the topic, or of one group of it (0: all), of some kinds (bits).
void damage_list_remove(struct damage_list *list, uint64_t topic, uint64_t group, uint32_t kinds);
bool damage_list_matches(const struct damage *damage, uint64_t topic, uint64_t group,
			 uint32_t kinds);

// The one with this index among those of the topic; false: there are fewer.
bool damage_list_at(struct damage_list *list, uint64_t topic, size_t index, struct damage *ret);
uint64_t damage_list_total(struct damage_list *list);   // finds since the start
size_t damage_list_open(struct damage_list *list);      // that are in it now
const char *damage_list_problem(enum damage_kind kind); // a sentence for an operator, static
// Copies at most `room` of those of the store with this class; how many.
size_t damage_list_copy(struct damage_list *list, enum durability class, struct damaged_part *rows,
			size_t room);
// The oldest in words, cut to `size` bytes; "" when there is none.
void damage_list_text(struct damage_list *list, char *text, size_t size);
