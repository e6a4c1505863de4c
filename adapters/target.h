// Where a group is to stand, as it is asked for: by a reset, or by the start of a new group. The
// backend makes positions of it.
#pragma once

#include "core/model/model.h"

enum group_place {
	PLACE_EARLIEST,  // the oldest message that is kept
	PLACE_LATEST,    // the end
	PLACE_TIME,      // the first message that was stored at `time_ms` or later, else the end
	PLACE_POSITIONS, // those named; partitions that are not stay where they are
};

struct group_position {
	uint32_t partition; // may be one that the topic does not have
	uint64_t offset;    // may lie outside the log: the nearest end is meant
};

struct group_target {
	enum group_place place;
	int64_t time_ms;                        // since 1970
	const struct group_position *positions; // borrowed; of one partition the last counts
	size_t position_count;
};

struct group_target target_of_start(const struct group *group); // of a group that is made
// A copy with positions of its own; -ENOMEM.
int target_copy(const struct group_target *target, struct group_target *ret);
void target_deinit(struct group_target *target); // of a copy
