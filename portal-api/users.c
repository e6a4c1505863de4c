// Users (people) and tokens (machines) of the control plane.
//
// A tenant's administrators see their own users and tokens, and delete them; only the platform
// makes them. Not here: logging in (sessions.c).

#include "core/registry/delete.h"
#include "core/registry/page.h"
#include "core/registry/resource.h"
#include "portal-api/crud.h"
#include "portal-api/handlers.h"
#include "portal-api/state.h"

static void list_kind(struct call *call, enum registry_kind kind)
{
	struct registry_query query = crud_query(call);

	query.role = call->query[LIST_FILTER].text;
	query.tenant = call->query[LIST_FILTER + 1].text;
	crud_list(call, kind, &query);
}

void users_list(struct call *call)
{
	list_kind(call, REGISTRY_USER);
}

void users_create(struct call *call)
{
	crud_create(call, REGISTRY_USER, "name");
}

void users_get(struct call *call)
{
	crud_get(call, REGISTRY_USER);
}

void users_put(struct call *call)
{
	crud_put(call, REGISTRY_USER);
}

void users_delete(struct call *call)
{
	crud_delete(call, REGISTRY_USER);
}

void users_list_tokens(struct call *call)
{
	list_kind(call, REGISTRY_TOKEN);
}

void users_create_token(struct call *call)
{
	crud_create(call, REGISTRY_TOKEN, "id");
}

void users_get_token(struct call *call)
{
	crud_get(call, REGISTRY_TOKEN);
}

void users_delete_token(struct call *call)
{
	crud_delete(call, REGISTRY_TOKEN);
}

// ---- a tenant's own

static void list_own(struct call *call, enum registry_kind kind)
{
	struct registry_query query = crud_query(call);

	query.role = call->query[LIST_FILTER].text;
	crud_list(call, kind, &query);
}

void users_list_of_tenant(struct call *call)
{
	list_own(call, REGISTRY_USER);
}

void users_list_tokens_of_tenant(struct call *call)
{
	list_own(call, REGISTRY_TOKEN);
}

static bool is_own(const struct call *call, const struct registry_ref *ref)
{
	struct registry_result result = {0};
	int r = registry_resource_get(call->portal->registry, ref, &result);
	const char *tenant = json_string_value(json_object_get(result.body, "tenant"));
	bool own = r == 0 && tenant && strcmp(tenant, call->params[0]) == 0;

	registry_result_deinit(&result);
	return own;
}

// Another tenant's, or the platform's, is answered like one that does not exist.
static void delete_own(struct call *call, enum registry_kind kind, const char *what)
{
	const struct registry_ref ref = {.kind = kind, .name = call->params[1]};
	const struct registry_delete how = {.preview = call->query[DELETE_PREVIEW].integer,
					    .force = call->query[DELETE_FORCE].integer};
	struct registry_result result = {0};
	int r;

	if (!is_own(call, &ref)) {
		call_fail(call, CODE_NOT_FOUND, "there is no %s \"%s\"", what, call->params[1]);
		return;
	}
	r = registry_delete(call->portal->registry, &call->actor, &ref, &how, &result);
	call_result(call, r, &result, NULL);
}

void users_delete_of_tenant(struct call *call)
{
	delete_own(call, REGISTRY_USER, "user");
}

void users_delete_token_of_tenant(struct call *call)
{
	delete_own(call, REGISTRY_TOKEN, "token");
}
