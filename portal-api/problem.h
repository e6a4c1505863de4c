// Resources that are ready and whose cluster has a problem with them: their state_reason says it.
#pragma once

#include "portal-api/crud.h"

// Of a resource, by its id; NULL: there is none.
typedef const char *(*problem_fn)(const struct portal *portal, uint64_t id);

// As crud_list() and crud_get().
void problem_list(struct call *call, enum registry_kind kind, const struct registry_query *query,
		  problem_fn problem);
void problem_get(struct call *call, enum registry_kind kind, problem_fn problem);
