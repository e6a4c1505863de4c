// Everything that is configured, as one document: export and import.
//
// An import is one transaction of the registry: all of it or nothing. Here only the kinds of
// clusters are checked, since the registry does not know which kinds this program has. Secrets are
// not exported.

#include "core/registry/definitions.h"
#include "portal-api/clusters.h"
#include "portal-api/crud.h"
#include "portal-api/handlers.h"
#include "portal-api/state.h"

#include <stdio.h>

enum { IMPORT_PREVIEW };

void definitions_export(struct call *call)
{
	struct registry_result result = {0};
	int r = registry_definitions_export(call->portal->registry, &result);

	call_result(call, r, &result, NULL);
}

// The registry does not know which kinds there are. False: answered.
static bool check_kinds(struct call *call)
{
	json_t *errors = json_array(), *cluster;
	bool fine = true;
	char field[48];
	size_t index;

	json_array_foreach(json_object_get(call->body, "clusters"), index, cluster)
	{
		snprintf(field, sizeof field, "/clusters/%zu/kind", index);
		if (json_object_get(cluster, "kind")) {
			fine &= clusters_check_kind(call, cluster, field, errors);
		} else {
			body_rule_fault(errors, field, "is missing");
			fine = false;
		}
	}
	if (fine)
		json_decref(errors);
	else
		call_fail_fields(call, CLUSTERS_KIND_UNKNOWN, errors);
	return fine;
}

void definitions_import(struct call *call)
{
	struct registry_result result = {0};
	int r;

	if (!check_kinds(call))
		return;
	r = registry_definitions_import(call->portal->registry, &call->actor, call->body,
					call->query[IMPORT_PREVIEW].integer, &result);

	call_result(call, r, &result, NULL);
	state_wake_reconciler(call->portal);
}
