// Connected clients: listing them, and closing their connections.
//
// Proxies know clients by ids, callers of the API by names: answers are translated here. Every list
// and every kick is a live query. Kicks are noted in the audit log. It keeps no state.

#include "portal-api/crud.h"
#include "portal-api/handlers.h"

#include "core/base/util.h"
#include "core/registry/lookup.h"
#include "portal-api/state.h"

#include <stdio.h>

// Replaces the id that the proxies use by the tenant's name.
static void name_tenant(struct call *call, json_t *client)
{
	json_t *tenant = json_object_get(client, "tenant");
	const char *name;

	if (!json_is_integer(tenant))
		return;
	name = registry_lookup_name(call->portal->registry, REGISTRY_TENANT,
				    (uint64_t)json_integer_value(tenant));
	json_object_set_new(client, "tenant", json_string(name ? name : "(deleted)"));
}

// Shows the session's number as a text, which is its name in paths.
static void name_session(json_t *client)
{
	json_t *session = json_object_get(client, "session");
	char text[24];

	if (!json_is_integer(session))
		return;
	snprintf(text, sizeof text, "%lld", (long long)json_integer_value(session));
	json_object_set_new(client, "session", json_string(text));
}

// The list is live: a cursor says how many clients were shown before it.
static void answer_list(struct call *call, enum code code, json_t *body, const char *text)
{
	const char *cursor = call->query[LIST_CURSOR].text;
	size_t limit = (size_t)call->query[LIST_LIMIT].integer, at, count, end;
	json_t *clients = json_object_get(body, "clients"), *items;
	char next[24];

	if (code != CODE_OK) {
		call_query_failed(call, code, text);
		return;
	}
	if (cursor && strspn(cursor, "0123456789") != strlen(cursor)) {
		call_fail(call, CODE_BAD_REQUEST,
			  "cursor must be what `next` of the page before said");
		json_decref(body);
		return;
	}
	at = cursor ? strtoul(cursor, NULL, 10) : 0;
	count = json_array_size(clients);
	items = json_array();
	end = at < count ? at + MIN(limit, count - at) : at;
	for (; at < end; ++at) {
		json_t *client = json_array_get(clients, at);
		name_tenant(call, client);
		name_session(client);
		json_array_append(items, client);
	}
	snprintf(next, sizeof next, "%zu", at);
	json_decref(body);
	call_json(call, 200,
		  json_pack("{s:o, s:o}", "items", items, "next",
			    at < count ? json_string(next) : json_null()));
}

void clients_list(struct call *call)
{
	call_query(call, QUERY_CLIENTS, json_pack("{s:I}", "tenant", (json_int_t)call->tenant),
		   answer_list);
}

void clients_list_all(struct call *call)
{
	call_query(call, QUERY_CLIENTS, json_object(), answer_list);
}

static void answer_kick_one(struct call *call, enum code code, json_t *body, const char *text)
{
	json_int_t kicked = json_integer_value(json_object_get(body, "kicked"));

	json_decref(body);
	if (code != CODE_OK && code != CODE_NOT_FOUND)
		call_query_failed(call, code, text);
	else if (kicked == 0)
		call_fail(call, CODE_NOT_FOUND, "there is no client \"%s\"", call->params[1]);
	else if (crud_note(call, "kick", "client", call->params[1], NULL))
		call_empty(call);
}

static bool has_session(json_t *clients, const char *session)
{
	json_t *client;
	size_t index;

	json_array_foreach(clients, index, client)
	{
		name_session(client);
		if (strcmp(json_string_value(json_object_get(client, "session")), session) == 0)
			return true;
	}
	return false;
}

static void kick_if_there(struct call *call, enum code code, json_t *body, const char *text)
{
	const char *session = call->params[1];
	bool there = has_session(json_object_get(body, "clients"), session);

	json_decref(body);
	if (code != CODE_OK)
		call_query_failed(call, code, text);
	else if (!there)
		call_fail(call, CODE_NOT_FOUND, "there is no client \"%s\"", session);
	else if (call_still_allowed(call))
		call_query(call, QUERY_KICK,
			   json_pack("{s:I}", "session", (json_int_t)strtoll(session, NULL, 10)),
			   answer_kick_one);
}

// A session's number does not say whose it is: it must be among the tenant's own.
void clients_kick_one(struct call *call)
{
	call_query(call, QUERY_CLIENTS, json_pack("{s:I}", "tenant", (json_int_t)call->tenant),
		   kick_if_there);
}

static void answer_kick_many(struct call *call, enum code code, json_t *body, const char *text)
{
	const char *key = json_string_value(json_object_get(call->body, "access_key"));

	if (code != CODE_OK) {
		call_query_failed(call, code, text);
		return;
	}
	if (crud_note(call, "kick", key ? "access_key" : "tenant", key ? key : call->params[0],
		      body))
		call_json(call, 200, json_incref(body));
	json_decref(body);
}

void clients_kick_many(struct call *call)
{
	const char *key = json_string_value(json_object_get(call->body, "access_key"));
	struct registry_ref ref = {
		.kind = REGISTRY_ACCESS_KEY, .tenant = call->params[0], .name = key};

	if (key && !registry_lookup_id(call->portal->registry, &ref)) {
		call_fail(call, CODE_NOT_FOUND, "there is no access key \"%s\"", key);
		return;
	}
	call_query(call, QUERY_KICK,
		   key ? json_pack("{s:s}", "access_key", key)
		       : json_pack("{s:I}", "tenant", (json_int_t)call->tenant),
		   answer_kick_many);
}
