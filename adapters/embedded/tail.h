// The newest chunks of partitions that somebody follows, in memory: who reads along the end is
// served from here, without a copy and without a thread between.
//
// Filled by the committer after a commit, read by any thread. What all partitions of a store hold
// together is bounded; the oldest goes first.
#pragma once

#include "adapters/log/log.h"

struct tails; // of a store
struct tail;  // of a partition

// One chunk, in the data of its buf, which holds records and entries.
struct tail_chunk {
	struct list in_tails;
	struct tail *tail;
	struct store_partition *partition; // the committer's, until it is added
	struct buf *buf;
	struct log_entry *entries;
	uint64_t offset; // of the first
	uint32_t count;
};

struct tails *tails_new(void);
void tails_free(struct tails *tails); // accepts NULL; all tails were freed

// A copy of a run of records, not visible yet. NULL: no memory, or too large to be kept.
struct tail_chunk *tail_chunk_new(uint64_t offset, uint32_t count, int64_t stored_ms,
				  const uint8_t *records, size_t size);
void tail_chunk_free(struct tail_chunk *chunk);

// Takes the chunk over. *tail is made when it is NULL. @thread the committer
void tail_add(struct tails *tails, struct tail **tail, struct tail_chunk *chunk);
void tail_free(struct tails *tails, struct tail *tail); // accepts NULL
// Answers a fetch if it begins inside. @thread any
bool tail_fetch(struct tails *tails, struct tail *const *tail, struct log_fetch *fetch);
