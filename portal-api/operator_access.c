// The access of platform roles to a tenant: the routes that show it, allow it for a while, withdraw
// it, and break the glass where the tenant has no administrator left to allow it.
//
// Allowed or not is the making of keys, tokens and passwords of the tenant, since these open its
// messages. The registry enforces all of it and keeps the audit entries
// (core/registry/operator_access.c). Only the rule that a person decides for a tenant stands here,
// because only the portal knows whether a caller is a session or a machine's token.

#include "core/registry/operator_access.h"
#include "portal-api/crud.h"
#include "portal-api/handlers.h"
#include "portal-api/state.h"

static const char *text_of(const struct call *call, const char *name)
{
	return json_string_value(json_object_get(call->body, name));
}

void operator_access_get(struct call *call)
{
	struct registry_result result = {0};
	int r = registry_operator_access(call->portal->registry, call->params[0], &result);

	call_result(call, r, &result, NULL);
}

// A machine's token does not count: the operator who asks for leave may have made it.
static bool is_person(struct call *call)
{
	if (call->who.session)
		return true;
	call_fail(call, CODE_CONFLICT,
		  "a person of the tenant decides this; log in at /api/v1/sessions");
	return false;
}

void operator_access_grant(struct call *call)
{
	struct registry_result result = {0};
	int r;

	if (!is_person(call))
		return;
	r = registry_operator_access_grant(
		call->portal->registry, &call->actor, call->params[0],
		(uint64_t)json_number_value(json_object_get(call->body, "valid_ms")),
		text_of(call, "reason"), &result);
	call_result(call, r, &result, NULL);
}

void operator_access_withdraw(struct call *call)
{
	struct registry_result result = {0};
	int r = registry_operator_access_withdraw(call->portal->registry, &call->actor,
						  call->params[0], &result);

	call_result(call, r, &result, NULL);
}

void operator_access_break_glass(struct call *call)
{
	const struct registry_operator_access_break_glass how = {.user = text_of(call, "user"),
								 .password =
									 text_of(call, "password"),
								 .reason = text_of(call, "reason")};
	struct registry_result result = {0};
	int r = registry_operator_access_break_glass(call->portal->registry, &call->actor,
						     call->params[0], &how, &result);

	call_result(call, r, &result, NULL);
}
