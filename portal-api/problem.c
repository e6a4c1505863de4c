// Lists and shows resources with what the portal has seen of them at their clusters. Only one that
// is ready, and of which the registry itself says nothing, gets such a state_reason.

#include "portal-api/problem.h"

#include "core/registry/page.h"
#include "core/registry/resource.h"
#include "portal-api/state.h"

static void problem_add(const struct portal *portal, json_t *resource, problem_fn problem)
{
	const char *state = json_string_value(json_object_get(resource, "state"));
	const char *told =
		problem(portal, (uint64_t)json_integer_value(json_object_get(resource, "id")));

	if (told && state && strcmp(state, "ready") == 0 &&
	    json_is_null(json_object_get(resource, "state_reason")))
		json_object_set_new(resource, "state_reason", json_string(told));
}

void problem_list(struct call *call, enum registry_kind kind, const struct registry_query *query,
		  problem_fn problem)
{
	struct registry_result result = {0};
	json_t *resource;
	size_t i;
	int r = registry_page(call->portal->registry, kind, query, &result);

	json_array_foreach(json_object_get(result.body, "items"), i, resource)
		problem_add(call->portal, resource, problem);
	call_result(call, r, &result, NULL);
}

void problem_get(struct call *call, enum registry_kind kind, problem_fn problem)
{
	const struct registry_ref ref = crud_ref(call, kind);
	struct registry_result result = {0};
	int r = registry_resource_get(call->portal->registry, &ref, &result);

	if (result.body && result.code == CODE_OK)
		problem_add(call->portal, result.body, problem);
	call_result(call, r, &result, NULL);
}
