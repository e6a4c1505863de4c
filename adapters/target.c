// Reads where a group is to stand: the earliest or latest position, a time, or positions by name.
//
// Two places say so, a reset and the start of a new group; both become one struct group_target.
// Invariant: a target that is returned has exactly one of the four forms. It is not made into
// positions here, which needs the topic, and `positions` is not looked into: its backend does both.

#include "adapters/target.h"

#include <errno.h>

int target_read(const json_t *to, struct group_target *ret)
{
	const json_t *time_ms = json_object_get(to, "time_ms"),
		     *positions = json_object_get(to, "positions");

	*ret = (struct group_target){.positions = NULL};
	if (json_is_true(json_object_get(to, "earliest")))
		ret->place = PLACE_EARLIEST;
	else if (json_is_true(json_object_get(to, "latest")))
		ret->place = PLACE_LATEST;
	else if (json_is_integer(time_ms))
		*ret = (struct group_target){.place = PLACE_TIME,
					     .time_ms = json_integer_value(time_ms)};
	else if (json_is_array(positions))
		*ret = (struct group_target){.place = PLACE_POSITIONS, .positions = positions};
	else
		return -EINVAL;
	return 0;
}

struct group_target target_of_start(const struct group *group)
{
	return (struct group_target){
		.place = group->start == GROUP_START_LATEST ? PLACE_LATEST
			 : group->start == GROUP_START_TIME ? PLACE_TIME
							    : PLACE_EARLIEST,
		.time_ms = group->start_ms,
	};
}
