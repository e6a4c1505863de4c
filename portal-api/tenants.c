// Tenants: the users of the platform, with their limits and clusters.
//
// A caller that belongs to a tenant sees only that one. Everything else is common to all resources
// (crud.c).

#include "core/registry/page.h"
#include "core/registry/resource.h"
#include "portal-api/crud.h"
#include "portal-api/handlers.h"
#include "portal-api/state.h"

// A caller of a tenant sees a list of one.
static void list_own(struct call *call)
{
	const struct registry_ref ref = {.kind = REGISTRY_TENANT, .name = call->who.tenant_name};
	struct registry_result result = {0};
	int r = registry_resource_get(call->portal->registry, &ref, &result);

	if (call_refused(call, r, &result))
		return;
	call_json(call, 200, json_pack("{s:[O], s:n}", "items", result.body, "next"));
	registry_result_deinit(&result);
}

void tenants_list(struct call *call)
{
	struct registry_query query = crud_query(call);

	if (call->who.tenant)
		list_own(call);
	else
		crud_list(call, REGISTRY_TENANT, &query);
}

void tenants_create(struct call *call)
{
	crud_create(call, REGISTRY_TENANT, "name");
}

void tenants_get(struct call *call)
{
	crud_get(call, REGISTRY_TENANT);
}

void tenants_put(struct call *call)
{
	crud_put(call, REGISTRY_TENANT);
}

void tenants_delete(struct call *call)
{
	crud_delete(call, REGISTRY_TENANT);
}
