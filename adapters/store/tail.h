// The newest chunks of partitions that somebody follows, in memory (adapters/log/ring.h), with a
// lock a store.
//
// Filled by the committer after a commit, read by any thread.
#pragma once

#include "adapters/log/ring.h"

struct tail_cache; // of a store
struct tail;       // of a partition

struct tail_cache *tail_cache_new(void);
void tail_cache_free(struct tail_cache *tails); // accepts NULL; all tails were freed

// A copy of a run of records, not visible yet. NULL: no memory, or too large to be kept.
struct log_chunk *tail_chunk_new(uint64_t offset, uint32_t count, int64_t stored_ms,
				 const uint8_t *records, size_t size);

// Takes the chunk over. *tail is made when it is NULL. @thread the committer
void tail_add(struct tail_cache *tails, struct tail **tail, struct log_chunk *chunk);
void tail_free(struct tail_cache *tails, struct tail *tail); // accepts NULL
// Answers a fetch if it begins inside. @thread any
bool tail_fetch(struct tail_cache *tails, struct tail *const *tail, struct log_fetch *fetch);
