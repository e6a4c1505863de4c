// Parameters of live queries (core/catalog/query.h) that become structs of the adapter contract.
#pragma once

#include "adapters/target.h"

#include <jansson.h>

#define PARAMETERS_TARGET_FORMS "to: earliest, latest, time_ms or positions" // what a refusal says

// `to` of GROUP_RESET; the caller calls target_deinit(). -EINVAL: it has none of the four forms;
// -ENOMEM. @thread any
int parameters_target(const json_t *to, struct group_target *ret);
