// Where a group is moved to by a reset or by its start; the backend makes positions of it.
#pragma once

#include "core/model/model.h"

enum seek_place {
	SEEK_EARLIEST,  // the oldest message that is kept
	SEEK_LATEST,    // the end
	SEEK_TIME,      // the first message that was stored at `time_ms` or later, else the end
	SEEK_POSITIONS, // those named; partitions that are not stay where they are
};

struct seek_position {
	uint32_t partition; // may be one that the topic does not have
	uint64_t offset;    // may lie outside the log: the nearest end is meant
};

struct seek_target {
	enum seek_place place;
	int64_t time_ms;                       // since 1970
	const struct seek_position *positions; // borrowed; of one partition the last counts
	size_t position_count;
};

struct seek_target seek_target_of_start(const struct group *group); // of a group that is made
// A copy with positions of its own; -ENOMEM.
int seek_target_copy(const struct seek_target *target, struct seek_target *ret);
void seek_target_deinit(struct seek_target *target); // of a copy
