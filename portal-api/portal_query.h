// Queries of the portal: what the proxies are asked, with the answer on the portal's thread.
#pragma once

#include "core/base/code.h"
#include "core/catalog/query.h"

#include <jansson.h>

struct portal;

// `answer` is fn's; NULL unless code is OK. Takes `parameters`. fn may run before this returns.
typedef void (*portal_answer_fn)(void *ctx, enum code code, json_t *answer, const char *text);
void portal_query(struct portal *portal, enum query_kind kind, json_t *parameters,
		  portal_answer_fn fn, void *ctx);
