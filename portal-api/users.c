// Users (people) and tokens (machines) of the control plane.

#include "portal-api/crud.h"
#include "portal-api/handlers.h"

static void list(struct call *call, enum registry_kind kind)
{
	struct registry_query query = crud_query(call);

	query.role = call->query[LIST_FILTER].text;
	query.tenant = call->query[LIST_FILTER + 1].text;
	crud_list(call, kind, &query);
}

void users_list(struct call *call)
{
	list(call, REGISTRY_USER);
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

void tokens_list(struct call *call)
{
	list(call, REGISTRY_TOKEN);
}

void tokens_create(struct call *call)
{
	crud_create(call, REGISTRY_TOKEN, "id");
}

void tokens_get(struct call *call)
{
	crud_get(call, REGISTRY_TOKEN);
}

void tokens_delete(struct call *call)
{
	crud_delete(call, REGISTRY_TOKEN);
}
