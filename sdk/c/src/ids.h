// Message ids: 48 bits of creation time, then a count that begins anywhere.
#pragma once

#include <stdint.h>

struct ids {
	uint16_t high;
	uint64_t low;
};

int ids_init(struct ids *ids); // -errno: no randomness
void ids_next(struct ids *ids, int64_t created_ms, uint8_t id[16]);
