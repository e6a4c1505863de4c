// The ids of messages that are suspects, for a source that brings a message back under another
// offset.
#pragma once

#include "core/base/list.h"
#include "core/wire/record.h"

#include <stdbool.h>
#include <stdint.h>

#define SUSPECTS_MAX 4096u

struct suspect;

struct suspects {
	struct suspect **slots; // NULL: none was ever added
	struct list by_age;     // the oldest first; set with the slots
	uint32_t count;
};

// All zero is an empty set.
void suspects_clear(struct suspects *suspects); // frees all
bool suspects_have(const struct suspects *suspects, const uint8_t *id);
// Marks it, or makes its mark the youngest. -ENOMEM: it has none.
int suspects_add(struct suspects *suspects, const uint8_t *id);
void suspects_remove(struct suspects *suspects, const uint8_t *id);
