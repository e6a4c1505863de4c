// Where a group is to stand: the earliest or latest position, a time, or positions by name.
//
// Two places say so, a reset and the start of a new group. It is not made into positions here,
// which needs the topic: each backend does that. Copies are for backends that answer a reset later.

#include "adapters/target.h"

#include "core/base/util.h"

#include <errno.h>

struct group_target target_of_start(const struct group *group)
{
	return (struct group_target){
		.place = group->start == GROUP_START_LATEST ? PLACE_LATEST
			 : group->start == GROUP_START_TIME ? PLACE_TIME
							    : PLACE_EARLIEST,
		.time_ms = group->start_ms,
	};
}

int target_copy(const struct group_target *target, struct group_target *ret)
{
	size_t size = target->position_count * sizeof *target->positions;
	struct group_position *positions = size ? malloc(size) : NULL;

	if (size && !positions)
		return -ENOMEM;
	if (size)
		memcpy(positions, target->positions, size);
	*ret = *target;
	ret->positions = positions;
	return 0;
}

void target_deinit(struct group_target *target)
{
	free((void *)(uintptr_t)target->positions);
	*target = (struct group_target){.place = PLACE_EARLIEST};
}
