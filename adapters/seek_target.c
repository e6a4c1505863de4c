// The place to which a group is moved: the earliest or latest position, a time, or named positions.
//
// A reset names such a place, and so does the start of a new group. Copies are for backends that
// answer a reset later. Not here: the positions that the place stands for. Those need the topic, so
// each backend finds them.

#include "adapters/seek_target.h"

#include "core/base/util.h"

#include <errno.h>

struct seek_target seek_target_of_start(const struct group *group)
{
	return (struct seek_target){
		.place = group->start == GROUP_START_LATEST ? SEEK_LATEST
			 : group->start == GROUP_START_TIME ? SEEK_TIME
							    : SEEK_EARLIEST,
		.time_ms = group->start_ms,
	};
}

int seek_target_copy(const struct seek_target *target, struct seek_target *ret)
{
	size_t size = target->position_count * sizeof *target->positions;
	struct seek_position *positions = size ? malloc(size) : NULL;

	if (size && !positions)
		return -ENOMEM;
	if (size)
		memcpy(positions, target->positions, size);
	*ret = *target;
	ret->positions = positions;
	return 0;
}

void seek_target_deinit(struct seek_target *target)
{
	free((void *)(uintptr_t)target->positions);
	*target = (struct seek_target){.place = SEEK_EARLIEST};
}
