// Where a group is to stand, as it is asked for; the backend makes positions of it.
#pragma once

#include "core/model/model.h"

#include <jansson.h>

enum group_place { PLACE_EARLIEST, PLACE_LATEST, PLACE_TIME, PLACE_POSITIONS };

struct group_target {
	enum group_place place;
	int64_t time_ms;
	const json_t *positions; // borrowed from what was read
};

#define TARGET_FORMS "to: earliest, latest, time_ms or positions" // what a refusal says

int target_read(const json_t *to,
		struct group_target *ret); // `to` as QUERY_GROUP_RESET; or -EINVAL
struct group_target target_of_start(const struct group *group); // of a group that is made
