// Clusters: the backends that are registered, and how they are doing.

#include "portal-api/handlers.h"
#include "portal-api/resource.h"

void clusters_list(struct call *call)
{
	struct registry_query query = resource_query(call);

	resource_list(call, REGISTRY_CLUSTER, &query);
}

void clusters_create(struct call *call)
{
	resource_create(call, REGISTRY_CLUSTER, "name");
}

void clusters_get(struct call *call)
{
	resource_get(call, REGISTRY_CLUSTER);
}

void clusters_put(struct call *call)
{
	resource_put(call, REGISTRY_CLUSTER);
}

void clusters_delete(struct call *call)
{
	resource_delete(call, REGISTRY_CLUSTER);
}

static void answer(struct call *call, enum code code, json_t *body, const char *text)
{
	if (code != CODE_OK) {
		call_ask_failed(call, code, text);
		return;
	}
	if (!json_object_get(body, "error"))
		json_object_set_new(body, "error", json_null());
	call_json(call, 200, body);
}

static void ask_about(struct call *call, enum ask_kind kind)
{
	uint64_t id = resource_id(call, REGISTRY_CLUSTER);

	if (id)
		call_ask(call, kind, json_pack("{s:I}", "cluster", (json_int_t)id), answer);
}

void clusters_probe(struct call *call)
{
	ask_about(call, ASK_PROBE);
}

void clusters_state(struct call *call)
{
	ask_about(call, ASK_CLUSTER_STATE);
}
