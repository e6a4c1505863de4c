// Memory for one piece of work, freed as a whole.
#pragma once

#include <stddef.h>

struct arena_chunk;

// A zeroed one is empty and ready.
struct arena {
	struct arena_chunk *chunks;
};

void *arena_alloc(struct arena *arena,
		  size_t size); // zeroed, aligned for anything; NULL: no memory
char *arena_copy(struct arena *arena, const void *bytes, size_t size); // and a zero behind it
char *arena_text(struct arena *arena, const char *text);               // NULL stays NULL
void arena_deinit(struct arena *arena);
