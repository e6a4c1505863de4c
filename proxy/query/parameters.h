// Parameters of live queries (core/catalog/query.h) that become structs of the adapter contract.
#pragma once

#include "adapters/answer.h"
#include "adapters/seek_target.h"

#include <jansson.h>

#define PARAMETERS_TARGET_FORMS "to: earliest, latest, time_ms or positions" // what a refusal says

// The parameters of MESSAGES about a topic with this number of partitions; BAD_REQUEST with
// *ret_text (static), or OK. A limit that is too small or too large becomes the nearest one.
// @thread any
enum code parameters_messages(const json_t *parameters, uint32_t partitions,
			      struct message_query *ret, const char **ret_text);
// `to` of GROUP_RESET; the caller calls seek_target_deinit(). -EINVAL: it has none of the four
// forms; -ENOMEM. @thread any
int parameters_target(const json_t *to, struct seek_target *ret);
