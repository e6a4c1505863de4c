// Message memory of what a source has read and not handed out, counted and bounded by its opener
// (source_handlers: room, hold).
//
// Without a bound each partition would hold two ranges of new positions, and a group of thousands
// of partitions with slow consumers gigabytes. When there is no room a read is put off, and the
// pump looks again after a while, later each time. But a source must not stand still for what
// others hold: while it has nothing of its own it reads a small range. New positions and open ones
// are apart, because nothing new may be handed out while an open position waits to be read.
//
// Invariants: what is counted is the sizes of the buffers that are held, or what a read under way
// may bring; it is 0 when the source is closed. A stash that its window does not take is given up
// while there is no room, so that what is held can always be handed out.

#include "adapters/log/source_memory.h"

#define LEAST_BYTES     (64u << 10) // of a read for which there is no room
#define WAIT_NS         (10 * MS_NS)
#define WAIT_LONGEST_NS (320 * MS_NS)

uint32_t source_memory_fit(struct source *source, uint64_t held, uint32_t bytes)
{
	const struct source_config *config = &source->config;
	bool room = !source->memory_short &&
		    (!config->handlers->room || config->handlers->room(config->ctx, bytes));

	if (room)
		return bytes;
	source->memory_short = true;
	return held ? 0 : MIN(bytes, LEAST_BYTES);
}

void source_memory_hold(struct source *source, uint64_t *kind, uint64_t *held, uint64_t bytes)
{
	const struct source_config *config = &source->config;

	assert(*kind >= *held);
	if (config->handlers->hold && *held != bytes)
		config->handlers->hold(config->ctx, *held, bytes);
	*kind += bytes - *held;
	*held = bytes;
}

uint64_t source_memory_next(struct source *source, uint64_t now_ns)
{
	bool is_short = source->memory_short;

	source->memory_short = false;
	if (!is_short) {
		source->memory_wait_ns = 0;
		return UINT64_MAX;
	}
	source->memory_wait_ns = MIN(MAX(2 * source->memory_wait_ns, WAIT_NS), WAIT_LONGEST_NS);
	return now_ns + source->memory_wait_ns;
}
