// The audit log, newest first, and the check of its hash chain.
//
// The registry keeps the log and checks it; these routes only read. Not here: writing entries
// (crud_note() and the registry's own changes).

#include "core/registry/audit.h"
#include "core/registry/page.h"
#include "portal-api/crud.h"
#include "portal-api/handlers.h"
#include "portal-api/state.h"

enum {
	AUDIT_LIMIT,
	AUDIT_CURSOR,
	AUDIT_ACTOR,
	AUDIT_ACTION,
	AUDIT_RESOURCE,
	AUDIT_SINCE,
	AUDIT_UNTIL
};

static void list_entries(struct call *call, const char *tenant)
{
	const struct registry_query query = {
		.tenant = tenant,
		.limit = (unsigned)call->query[AUDIT_LIMIT].integer,
		.cursor = call->query[AUDIT_CURSOR].text,
		.actor = call->query[AUDIT_ACTOR].text,
		.action = call->query[AUDIT_ACTION].text,
		.resource = call->query[AUDIT_RESOURCE].text,
		.since_ms = call->query[AUDIT_SINCE].integer,
		.until_ms = call->query[AUDIT_UNTIL].integer,
	};
	struct registry_result result = {0};
	int r = registry_audit_list(call->portal->registry, &query, &result);

	call_result(call, r, &result, NULL);
}

void audit_list(struct call *call)
{
	list_entries(call, NULL);
}

void audit_list_tenant(struct call *call)
{
	list_entries(call, call->params[0]);
}

void audit_verify(struct call *call)
{
	struct registry_result result = {0};
	int r = registry_audit_verify(call->portal->registry, call->query[0].text, &result);

	call_result(call, r, &result, NULL);
}
