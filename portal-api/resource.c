// The common part of the resources' routes.

#include "portal-api/resource.h"

#include "portal-api/state.h"

static bool has_tenant(enum registry_kind kind)
{
	return kind == REGISTRY_TOPIC || kind == REGISTRY_GROUP || kind == REGISTRY_ACCESS_KEY;
}

struct registry_ref resource_ref(const struct call *call, enum registry_kind kind)
{
	bool owned = has_tenant(kind);

	return (struct registry_ref){.kind = kind,
				     .tenant = owned ? call->params[0] : NULL,
				     .name = call->params[owned ? 1 : 0]};
}

struct registry_query resource_query(const struct call *call)
{
	return (struct registry_query){
		.limit = (unsigned)call->query[LIST_LIMIT].integer,
		.cursor = call->query[LIST_CURSOR].text,
		.prefix = call->query[LIST_PREFIX].text,
		.tenant = call->tenant ? call->params[0] : NULL,
	};
}

void resource_list(struct call *call, enum registry_kind kind, const struct registry_query *query)
{
	struct registry_result result = {0};
	int r = registry_list(call->portal->registry, kind, query, &result);

	call_result(call, r, &result, NULL);
}

void resource_create(struct call *call, enum registry_kind kind, const char *id_field)
{
	struct registry_result result = {0};
	int r = registry_create(call->portal->registry, &call->actor, kind,
				has_tenant(kind) ? call->params[0] : NULL, call->body, &result);

	call_result(call, r, &result, id_field);
	portal_changed(call->portal);
}

void resource_get(struct call *call, enum registry_kind kind)
{
	const struct registry_ref ref = resource_ref(call, kind);
	struct registry_result result = {0};
	int r = registry_get(call->portal->registry, &ref, &result);

	call_result(call, r, &result, NULL);
}

void resource_put(struct call *call, enum registry_kind kind)
{
	const struct registry_ref ref = resource_ref(call, kind);
	struct registry_result result = {0};
	int r = registry_put(call->portal->registry, &call->actor, &ref, call->match, call->body,
			     &result);

	call_result(call, r, &result, NULL);
	portal_changed(call->portal);
}

void resource_delete(struct call *call, enum registry_kind kind)
{
	const struct registry_ref ref = resource_ref(call, kind);
	const struct registry_delete how = {.match = call->match,
					    .force = call->query[DELETE_FORCE].integer,
					    .preview = call->query[DELETE_PREVIEW].integer};
	struct registry_result result = {0};
	int r = registry_delete(call->portal->registry, &call->actor, &ref, &how, &result);

	call_result(call, r, &result, NULL);
	portal_changed(call->portal);
}

uint64_t resource_id(struct call *call, enum registry_kind kind)
{
	const struct registry_ref ref = resource_ref(call, kind);
	uint64_t id = registry_id(call->portal->registry, &ref);

	// The registry's own words for what is missing.
	if (!id)
		resource_get(call, kind);
	return id;
}

bool resource_note(struct call *call, const char *action, const char *kind, const char *name,
		   const json_t *details)
{
	struct registry_result none = {.code = CODE_OK};
	int r = registry_audit_note(call->portal->registry, &call->actor, action, kind, name,
				    call->tenant ? call->params[0] : NULL, details);

	return !call_refused(call, r, &none);
}
