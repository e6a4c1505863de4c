// Access to the API: making the first user, logging in and out, and what the caller may do.
//
// A password is compared on a background thread, because Argon2id takes tens of milliseconds and 19
// MiB by design; the loop goes on meanwhile. Every try costs the address a credit (throttle.h)
// before the comparison begins, and a right one gets it back.
//
// Not here: which token a request carries (call.c), what a role may do (permission.h).

#include "portal-api/crud.h"
#include "portal-api/handlers.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/registry/identity.h"
#include "core/registry/operator_access.h"
#include "portal-api/state.h"
#include "portal-api/throttle.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static const char *text_of(const struct call *call, const char *name)
{
	return json_string_value(json_object_get(call->body, name));
}

// False: too many tries from this address, answered. A try costs its address a credit until
// try_ended() has seen that it was right.
static bool try_begins(struct call *call)
{
	char headers[40];
	uint32_t wait_s;

	if (throttle_allows(call->portal->throttle, call->actor.address, clock_now_ns(), &wait_s)) {
		throttle_take(call->portal->throttle, call->actor.address, clock_now_ns());
		return true;
	}
	snprintf(headers, sizeof headers, "Retry-After: %u\r\n", wait_s);
	call_problem(call->exchange, 429, CODE_THROTTLED,
		     "too many failed tries from this address; try again later", NULL, headers);
	return false;
}

static void try_ended(struct call *call, int r, const struct registry_result *result)
{
	if (r < 0 || (result->code != CODE_UNAUTHENTICATED && result->code != CODE_FORBIDDEN))
		throttle_give_back(call->portal->throttle, call->actor.address);
	if (r == 0 && result->code == CODE_OK)
		throttle_know(call->portal->throttle, call->actor.address);
}

static void answer_session(struct call *call, int r, struct registry_result *result)
{
	try_ended(call, r, result);
	if (call_refused(call, r, result))
		return;
	call_created(call, "/api/v1/me", result->body);
	registry_result_deinit(result);
}

// The one-time token opens nothing any more; its file would still tell that it did.
static void remove_token(const char *data_dir)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/bootstrap-token", data_dir);
	if (unlink(path) < 0 && errno != ENOENT)
		log_warn(NULL, "BOOTSTRAP-TOKEN", "%s: %s", path, strerror(errno));
}

void sessions_bootstrap(struct call *call)
{
	struct registry_result result = {0};
	int r;

	if (!try_begins(call))
		return;
	r = registry_identity_bootstrap(call->portal->registry, call->actor.address,
					text_of(call, "token"), text_of(call, "user"),
					text_of(call, "password"), &result);
	if (r == 0 && result.code == CODE_OK)
		remove_token(call->portal->config.data_dir);
	answer_session(call, r, &result);
}

// ---- passwords, which are compared in the background

struct comparison {
	struct registry_identity_password check;
	const char *password; // of the call's body
};

static void compare_password(void *job)
{
	struct comparison *comparison = job;

	registry_identity_password_compare(&comparison->check, comparison->password);
}

static void compare_then(struct call *call, const char *user, const char *password,
			 void (*then)(struct call *call))
{
	struct comparison *comparison;
	struct registry_result none = {0};
	int r;

	if (!try_begins(call))
		return;
	comparison = calloc(1, sizeof *comparison);
	r = comparison ? registry_identity_password_look(call->portal->registry, user,
							 &comparison->check)
		       : -ENOMEM;
	if (r < 0) {
		free(comparison);
		answer_session(call, r, &none);
		return;
	}
	comparison->password = password;
	if (!call_in_background(call, comparison, compare_password, then))
		throttle_give_back(call->portal->throttle, call->actor.address);
}

static void finish_login(struct call *call)
{
	const struct comparison *comparison = call->job;
	struct registry_result result = {0};
	int r = registry_identity_login(call->portal->registry, call->actor.address,
					text_of(call, "user"), &comparison->check, &result);

	answer_session(call, r, &result);
}

void sessions_login(struct call *call)
{
	compare_then(call, text_of(call, "user"), text_of(call, "password"), finish_login);
}

static void change_password(struct call *call)
{
	const struct comparison *comparison = call->job;
	struct registry_result result = {0};
	int r = registry_identity_password_change(call->portal->registry, &call->actor,
						  call->bearer, &comparison->check,
						  text_of(call, "new"), &result);

	try_ended(call, r, &result);
	call_result(call, r, &result, NULL);
}

void sessions_password(struct call *call)
{
	if (!call->who.session) {
		call_fail(call, CODE_CONFLICT, "a machine's token has no password");
		return;
	}
	compare_then(call, call->who.name, text_of(call, "old"), change_password);
}

void sessions_logout(struct call *call)
{
	struct registry_result done = {.code = CODE_OK};

	if (!call->who.session) {
		call_fail(call, CODE_CONFLICT,
			  "this is a machine's token, not a session; delete it at /api/v1/tokens");
		return;
	}
	call_result(call, registry_identity_logout(call->portal->registry, call->bearer), &done,
		    NULL);
}

static json_t *permissions_of(enum role role)
{
	json_t *names = json_array();
	const struct permission *permission;

	for (unsigned i = 0; (permission = permission_at(i)); ++i) {
		if (permission->roles & 1u << role)
			json_array_append_new(names, json_string(permission->name));
	}
	return names;
}

// Break-glass on a tenant is shown to each of its users, so that it cannot go unnoticed.
static json_t *break_glass_of(const struct call *call)
{
	struct registry_result result = {0};
	json_t *broken = NULL;

	if (call->who.tenant &&
	    registry_operator_access(call->portal->registry, call->who.tenant_name, &result) == 0)
		broken = json_incref(json_object_get(result.body, "break_glass"));
	registry_result_deinit(&result);
	return broken ? broken : json_null();
}

void sessions_me(struct call *call)
{
	const struct registry_identity *who = &call->who;

	call_json(call, 200,
		  json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "kind",
			    who->session ? "session" : "token", "name", who->name, "role",
			    permission_role_names()[who->role], "tenant",
			    who->tenant ? json_string(who->tenant_name) : json_null(), "expires_ms",
			    who->expires_ms ? json_integer(who->expires_ms) : json_null(),
			    "permissions", permissions_of(who->role), "break_glass",
			    break_glass_of(call)));
}

static json_t *roles_with(const struct permission *permission)
{
	json_t *names = json_array();

	for (unsigned role = 0; role < ROLE_COUNT; ++role) {
		if (permission->roles & 1u << role)
			json_array_append_new(names, json_string(permission_role_names()[role]));
	}
	return names;
}

static json_t *routes_of(const struct portal *portal, const struct permission *permission)
{
	json_t *list = json_array();

	for (size_t i = 0; i < portal->route_count; ++i) {
		const struct route *route = &portal->routes[i];

		if (route->permission && strcmp(route->permission, permission->name) == 0)
			json_array_append_new(list,
					      json_sprintf("%s %s", route->method, route->path));
	}
	return list;
}

void sessions_permissions(struct call *call)
{
	json_t *rows = json_array();
	const struct permission *permission;

	for (unsigned i = 0; (permission = permission_at(i)); ++i)
		json_array_append_new(rows,
				      json_pack("{s:s, s:s, s:o, s:o}", "name", permission->name,
						"sentence", permission->sentence, "roles",
						roles_with(permission), "routes",
						routes_of(call->portal, permission)));
	call_json(call, 200, json_pack("{s:o}", "permissions", rows));
}
