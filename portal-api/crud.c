// The common part of the resources' routes: from path, query, If-Match and body to one call on the
// registry, and from its result to the answer with its ETag.
//
// If-Match is compared twice: here one of its ETags is chosen, and the registry compares that one
// again in the transaction that changes the resource. Each change wakes the reconciler.
//
// Not here: the rules of a resource, which are the registry's.

#include "portal-api/crud.h"

#include "core/base/util.h"
#include "core/registry/audit.h"
#include "core/registry/delete.h"
#include "core/registry/lookup.h"
#include "core/registry/page.h"
#include "core/registry/resource.h"
#include "portal-api/state.h"

static bool has_tenant(enum registry_kind kind)
{
	return kind == REGISTRY_TOPIC || kind == REGISTRY_GROUP || kind == REGISTRY_ACCESS_KEY;
}

struct registry_ref crud_ref(const struct call *call, enum registry_kind kind)
{
	bool owned = has_tenant(kind);

	return (struct registry_ref){.kind = kind,
				     .tenant = owned ? call->params[0] : NULL,
				     .name = call->params[owned ? 1 : 0]};
}

struct registry_query crud_query(const struct call *call)
{
	return (struct registry_query){
		.limit = (unsigned)call->query[LIST_LIMIT].integer,
		.cursor = call->query[LIST_CURSOR].text,
		.prefix = call->query[LIST_PREFIX].text,
		.tenant = call->tenant ? call->params[0] : NULL,
	};
}

// ---- If-Match

// Never the number of a revision: such an ETag matches nothing.
#define MATCH_NEVER (UINT64_MAX - 1)

// The next strong ETag that may be one of ours; MATCH_NEVER for any other; 0: there is none left.
static uint64_t next_tag(const char **at)
{
	uint64_t revision = MATCH_NEVER;
	const char *tag = *at + strspn(*at, ", \t");
	size_t size = strcspn(tag, ",");

	if (!*tag)
		return 0;
	*at = tag + size;
	while (size && (tag[size - 1] == ' ' || tag[size - 1] == '\t'))
		--size;
	if (size >= 3 && size < 20 && tag[0] == '"' && tag[1] != '0' && tag[size - 1] == '"' &&
	    strspn(tag + 1, "0123456789") == size - 2)
		revision = strtoull(tag + 1, NULL, 10);
	return revision;
}

static uint64_t present_revision(struct call *call, const struct registry_ref *ref)
{
	struct registry_result result = {0};
	uint64_t revision = 0;

	if (registry_resource_get(call->portal->registry, ref, &result) == 0 &&
	    result.code == CODE_OK)
		revision = result.revision;
	registry_result_deinit(&result);
	return revision;
}

// Of several ETags the one that the resource has now: the registry compares it again while it
// changes the resource.
static uint64_t match_of(struct call *call, const struct registry_ref *ref)
{
	const char *text = head_field(http_head(call->exchange), "if-match");
	uint64_t tag, first, present;

	if (!text)
		return REGISTRY_MATCH_NONE;
	if (strcmp(text, "*") == 0)
		return REGISTRY_MATCH_ANY;
	first = next_tag(&text);
	if (!first || !strchr(text, ','))
		return first ? first : MATCH_NEVER;
	present = present_revision(call, ref);
	for (tag = first; tag && tag != present; tag = next_tag(&text))
		;
	return tag ? tag : MATCH_NEVER;
}

// ---- the routes

void crud_list(struct call *call, enum registry_kind kind, const struct registry_query *query)
{
	struct registry_result result = {0};
	int r = registry_page(call->portal->registry, kind, query, &result);

	call_result(call, r, &result, NULL);
}

void crud_create(struct call *call, enum registry_kind kind, const char *id_field)
{
	struct registry_result result = {0};
	int r = registry_resource_create(call->portal->registry, &call->actor, kind,
					 has_tenant(kind) ? call->params[0] : NULL, call->body,
					 &result);

	call_result(call, r, &result, id_field);
	state_wake_reconciler(call->portal);
}

void crud_get(struct call *call, enum registry_kind kind)
{
	const struct registry_ref ref = crud_ref(call, kind);
	struct registry_result result = {0};
	int r = registry_resource_get(call->portal->registry, &ref, &result);

	call_result(call, r, &result, NULL);
}

void crud_put(struct call *call, enum registry_kind kind)
{
	const struct registry_ref ref = crud_ref(call, kind);
	struct registry_result result = {0};
	int r = registry_resource_put(call->portal->registry, &call->actor, &ref,
				      match_of(call, &ref), call->body, &result);

	call_result(call, r, &result, NULL);
	state_wake_reconciler(call->portal);
}

void crud_delete(struct call *call, enum registry_kind kind)
{
	const struct registry_ref ref = crud_ref(call, kind);
	const struct registry_delete how = {.match = match_of(call, &ref),
					    .force = call->query[DELETE_FORCE].integer,
					    .preview = call->query[DELETE_PREVIEW].integer};
	struct registry_result result = {0};
	int r = registry_delete(call->portal->registry, &call->actor, &ref, &how, &result);

	call_result(call, r, &result, NULL);
	state_wake_reconciler(call->portal);
}

uint64_t crud_id(struct call *call, enum registry_kind kind)
{
	const struct registry_ref ref = crud_ref(call, kind);
	uint64_t id = registry_lookup_id(call->portal->registry, &ref);

	// The registry's own words for what is missing.
	if (!id)
		crud_get(call, kind);
	return id;
}

bool crud_note(struct call *call, const char *action, const char *kind, const char *name,
	       const json_t *details)
{
	struct registry_result none = {.code = CODE_OK};
	int r = registry_audit_note(call->portal->registry, &call->actor, action, kind, name,
				    call->tenant ? call->params[0] : NULL, details);

	return !call_refused(call, r, &none);
}
