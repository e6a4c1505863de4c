// The newest chunks of partitions that a source follows, in memory (adapters/log/ring.h).
//
// One cache a store with one lock; a tail is one partition's part of it. Filled by the committer
// after a commit, read by any thread.
#pragma once

#include "adapters/log/ring.h"

struct tail_cache; // of a store
struct tail;       // of a partition

struct tail_cache *tail_cache_new(void);        // NULL: no memory
void tail_cache_free(struct tail_cache *tails); // accepts NULL; all tails were freed

// A copy of a run of records, not visible yet; the caller's, until tail_add() or
// log_ring_chunk_free(). NULL: no memory, or too large to be kept. @thread any
struct log_chunk *tail_chunk_new(uint64_t offset, uint32_t count, int64_t stored_ms,
				 const uint8_t *records, size_t size);

// Takes the chunk over, also when there is no memory for a tail. *tail is made when it is NULL.
// @thread the committer
void tail_add(struct tail_cache *tails, struct tail **tail, struct log_chunk *chunk);
void tail_free(struct tail_cache *tails, struct tail *tail); // accepts NULL
// true: the fetch is answered, with a reference to the chunk's buffer. false: it does not begin
// inside, and nothing of it has changed. @thread any
bool tail_fetch(struct tail_cache *tails, struct tail *const *tail, struct log_fetch *fetch);
