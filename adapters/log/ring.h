// The newest chunks of a partition in memory: readers along the end are served from here, without
// a copy and without a thread between. For backends that are logs; positions may hold nothing.
//
// No lock of its own: its owner has one, for all rings of a cluster, held for a few steps.
#pragma once

#include "adapters/log/log.h"

#define LOG_RING_CHUNKS 256u

// Lies in the data of its buf, which holds records and entries too. Covers the positions from
// `offset` to the next chunk's, or to the ring's end; those without an entry hold nothing.
struct log_chunk {
	struct list in_rings;
	struct log_ring *ring; // NULL: in none
	struct buf *buf;       // one reference for the ring
	struct log_entry *entries;
	void *owner; // for the use of its maker
	uint64_t offset;
	uint32_t count;
};

// Of a partition, without holes: everything from `first` to `next` is known.
struct log_ring {
	struct log_chunk *chunks[LOG_RING_CHUNKS];
	uint32_t head, count;
	uint64_t first, next;
	uint64_t bytes;
};

// All rings of a cluster: together they are bounded, the oldest chunk goes first.
struct log_rings {
	struct list all; // of log_chunk.in_rings, in the order they came
	uint64_t bytes, bytes_max;
	uint64_t ring_bytes_max;
	uint32_t ring_chunks_max; // at most LOG_RING_CHUNKS
};

void log_rings_init(struct log_rings *rings, uint64_t bytes_max, uint64_t ring_bytes_max,
		    uint32_t ring_chunks_max);
// Room for records and entries; NULL: no memory.
struct log_chunk *log_ring_chunk_new(uint64_t offset, size_t room);
uint8_t *log_ring_chunk_room_end(const struct log_chunk *chunk); // `room` bytes behind ->entries
void log_ring_chunk_free(struct log_chunk *chunk);               // one that is in no ring

// Begins anew, empty, at `next`.
void log_ring_clear(struct log_rings *rings, struct log_ring *ring, uint64_t next);
// Takes the chunk over, which covers everything up to `next`. One that does not begin where the
// ring ends takes the place of all before it.
void log_ring_add(struct log_rings *rings, struct log_ring *ring, struct log_chunk *chunk,
		  uint64_t next);
// Answers a fetch that begins inside.
bool log_ring_fetch(const struct log_ring *ring, struct log_fetch *fetch);
// Bytes of the chunks that begin at `offset` or behind it.
uint64_t log_ring_bytes_behind(const struct log_ring *ring, uint64_t offset);
