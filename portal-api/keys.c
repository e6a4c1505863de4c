// Access keys: what applications authenticate with.
//
// A secret is in the answer that made it and nowhere else; the registry keeps only its verifier. A
// rotated key stays valid for a day unless the request says otherwise.

#include "core/registry/page.h"
#include "core/registry/rotate.h"
#include "portal-api/crud.h"
#include "portal-api/handlers.h"
#include "portal-api/state.h"

enum { OLD_VALID_MS = 24 * 3600 * 1000 };

void keys_list(struct call *call)
{
	struct registry_query query = crud_query(call);

	crud_list(call, REGISTRY_ACCESS_KEY, &query);
}

void keys_create(struct call *call)
{
	crud_create(call, REGISTRY_ACCESS_KEY, "key_id");
}

void keys_get(struct call *call)
{
	crud_get(call, REGISTRY_ACCESS_KEY);
}

void keys_put(struct call *call)
{
	crud_put(call, REGISTRY_ACCESS_KEY);
}

void keys_delete(struct call *call)
{
	crud_delete(call, REGISTRY_ACCESS_KEY);
}

void keys_rotate(struct call *call)
{
	const json_t *valid = json_object_get(call->body, "old_valid_ms");
	struct registry_result result = {0};
	int r = registry_rotate_key(
		call->portal->registry, &call->actor, call->params[0], call->params[1],
		valid ? (uint64_t)json_number_value(valid) : OLD_VALID_MS, &result);

	call->location_up = 2; // KEY/rotate makes a sibling of KEY
	call_result(call, r, &result, "key_id");
}
