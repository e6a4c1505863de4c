// What a group's retry store holds, without the records: positions with when they are due, how
// often they were tried, and where in the retry topic the record lies. Pure.
//
// Every change says at which offset of the retry topic it was written, and what is older than what
// is there changes nothing: writes may be heard of in any order, and twice.
#pragma once

#include "core/base/util.h"

#include <stdbool.h>

struct retry_row {
	uint64_t due_ms;
	uint64_t offset;  // in the topic, with `partition`: what it is found by
	uint64_t written; // offset in the retry topic
	uint32_t partition;
	uint32_t attempts;
	uint32_t size; // of the record
	uint32_t left, right, chain;
};

struct retry_index {
	struct retry_row *rows; // [0] is none
	uint32_t room, used, count, vacant;
	uint32_t root;
	uint32_t *buckets;
	uint32_t bucket_count;
};

void retry_index_init(struct retry_index *index);
void retry_index_deinit(struct retry_index *index);

// Adds the row, or replaces the one of its position. -ENOMEM: nothing changed.
int retry_index_put(struct retry_index *index, const struct retry_row *row);
// Removes what was written before `written`.
void retry_index_remove(struct retry_index *index, uint32_t partition, uint64_t offset,
			uint64_t written);
// NULL: it is not there. A row stays where it is until the next change.
const struct retry_row *retry_index_find(const struct retry_index *index, uint32_t partition,
					 uint64_t offset);
// The first row behind this place in the order of due time, partition and offset; NULL: none. No
// row is due at 0, so all zeros are before the first.
const struct retry_row *retry_index_behind(const struct retry_index *index, uint64_t due_ms,
					   uint32_t partition, uint64_t offset);
// Every row, in no order; NULL: no more. Start with *cursor = 0; nothing may change meanwhile.
const struct retry_row *retry_index_next(const struct retry_index *index, uint32_t *cursor);
