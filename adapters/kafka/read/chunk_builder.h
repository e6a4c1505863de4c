// A chunk that is being filled with messages: entries from its front, records from its end, so that
// neither needs to know how many will come. What is filled in may be read while more is filled in.
#pragma once

#include "adapters/kafka/topic/message.h"
#include "adapters/log/ring.h"

struct filling {
	struct log_chunk *chunk; // with a reference of its own; NULL: none
	uint32_t count;          // filled in; chunk->count is what readers may see
	uint8_t *floor;          // where the records begin
	bool shown;              // was put into a ring
};

// Begins a chunk with room for `room` bytes of records and entries. false: no memory.
bool filling_begin(struct filling *filling, uint64_t offset, size_t room);
void filling_end(struct filling *filling); // accepts an empty one
// false: no room.
bool filling_put(struct filling *filling, const struct message_in *message,
		 const struct message_plan *plan);
// Whoever reads the ring sees it as it is now; all up to `next` is covered.
void filling_show(struct filling *filling, struct log_rings *rings, struct log_ring *ring,
		  uint64_t next);
