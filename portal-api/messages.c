// Reading stored messages of one partition.
//
// Bodies are shown only to callers with the permission for bodies, which is checked before the
// query and again when the answer arrives. Reading acknowledges nothing and moves no group.

#include "portal-api/crud.h"
#include "portal-api/handlers.h"

#include "core/base/util.h"
#include "core/registry/permission.h"

enum { QUERY_PARTITION, QUERY_OFFSET, QUERY_TIME, QUERY_LIMIT, QUERY_BODIES };

static bool may_read_bodies(const struct call *call)
{
	return permission_check(permission_find("messages.read_bodies"), call->who.role,
				call->who.tenant, call->tenant);
}

static void answer_messages(struct call *call, enum code code, json_t *body, const char *text)
{
	bool shown = call->query[QUERY_BODIES].integer && may_read_bodies(call); // still
	json_t *message;
	size_t index;

	if (code != CODE_OK) {
		call_query_failed(call, code, text);
		return;
	}
	json_array_foreach(json_object_get(body, "messages"), index, message)
	{
		json_object_set_new(message, "body_shown", json_boolean(shown));
		if (!shown)
			json_object_set_new(message, "body", json_null());
	}
	if (!json_object_get(body, "next"))
		json_object_set_new(body, "next", json_null());
	call_json(call, 200, body);
}

void messages_read(struct call *call)
{
	const struct query_value *query = call->query;
	json_t *parameters;
	uint64_t id;

	if (query[QUERY_OFFSET].given && query[QUERY_TIME].given) {
		call_fail(call, CODE_BAD_REQUEST, "give offset or time_ms, not both");
		return;
	}
	if (query[QUERY_BODIES].integer && !may_read_bodies(call)) {
		call_fail(call, CODE_FORBIDDEN,
			  "the role %s does not have the permission messages.read_bodies",
			  permission_role_names()[call->who.role]);
		return;
	}
	id = crud_id(call, REGISTRY_TOPIC);
	if (!id)
		return;
	parameters = json_pack("{s:I, s:I, s:I, s:b}", "topic", (json_int_t)id, "partition",
			       (json_int_t)query[QUERY_PARTITION].integer, "limit",
			       (json_int_t)query[QUERY_LIMIT].integer, "bodies",
			       (int)query[QUERY_BODIES].integer);
	if (query[QUERY_TIME].given)
		json_object_set_new(parameters, "time_ms", json_integer(query[QUERY_TIME].integer));
	else
		json_object_set_new(parameters, "offset",
				    json_integer(query[QUERY_OFFSET].integer));
	call_query(call, QUERY_MESSAGES, parameters, answer_messages);
}
