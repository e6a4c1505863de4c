// Everything that is configured, as one document: export and import.

#include "portal-api/crud.h"
#include "portal-api/handlers.h"
#include "portal-api/state.h"

enum { IMPORT_PREVIEW };

void definitions_export(struct call *call)
{
	struct registry_result result = {0};
	int r = registry_export(call->portal->registry, &result);

	call_result(call, r, &result, NULL);
}

void definitions_import(struct call *call)
{
	struct registry_result result = {0};
	int r = registry_import(call->portal->registry, &call->actor, call->body,
				call->query[IMPORT_PREVIEW].integer, &result);

	call_result(call, r, &result, NULL);
	portal_changed(call->portal);
}
