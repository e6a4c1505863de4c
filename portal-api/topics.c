// Topics: the resource, its partitions' offsets and sizes, purging it, and giving up damaged
// offsets.
//
// The resource is the registry's (crud.c); what lies in a topic is a live query. Purges and skips
// are noted in the audit log unless they are previews.

#include "portal-api/crud.h"
#include "portal-api/handlers.h"
#include "portal-api/incidents.h"
#include "portal-api/problem.h"
#include "portal-api/state.h"

static const char *problem_of(const struct portal *portal, uint64_t topic)
{
	return incidents_topic(portal->incidents, topic);
}

void topics_list(struct call *call)
{
	struct registry_query query = crud_query(call);

	query.cluster = call->query[LIST_FILTER].text;
	query.state = call->query[LIST_FILTER + 1].text;
	problem_list(call, REGISTRY_TOPIC, &query, problem_of);
}

void topics_create(struct call *call)
{
	crud_create(call, REGISTRY_TOPIC, "name");
}

void topics_get(struct call *call)
{
	problem_get(call, REGISTRY_TOPIC, problem_of);
}

void topics_put(struct call *call)
{
	crud_put(call, REGISTRY_TOPIC);
}

void topics_delete(struct call *call)
{
	crud_delete(call, REGISTRY_TOPIC);
}

static void answer_partitions(struct call *call, enum code code, json_t *body, const char *text)
{
	if (code == CODE_OK)
		call_json(call, 200, body);
	else
		call_query_failed(call, code, text);
}

void topics_partitions(struct call *call)
{
	uint64_t id = crud_id(call, REGISTRY_TOPIC);

	if (id)
		call_query(call, QUERY_TOPIC_DESCRIBE, json_pack("{s:I}", "topic", (json_int_t)id),
			   answer_partitions);
}

static void answer_purge(struct call *call, enum code code, json_t *body, const char *text)
{
	bool preview = json_is_true(json_object_get(call->body, "preview"));

	if (code != CODE_OK) {
		call_query_failed(call, code, text);
		return;
	}
	if (!preview && !crud_note(call, "purge", "topic", call->params[1], body)) {
		json_decref(body);
		return;
	}
	json_object_set_new(body, "preview", json_boolean(preview));
	call_json(call, 200, body);
}

static void answer_skip(struct call *call, enum code code, json_t *body, const char *text)
{
	bool preview = json_is_true(json_object_get(call->body, "preview"));

	if (code != CODE_OK) {
		call_query_failed(call, code, text);
		return;
	}
	if (!preview && !crud_note(call, "skip", "topic", call->params[1], body)) {
		json_decref(body);
		return;
	}
	json_object_set_new(body, "preview", json_boolean(preview));
	call_json(call, 200, body);
}

void topics_skip(struct call *call)
{
	bool preview = json_is_true(json_object_get(call->body, "preview"));
	uint64_t id = crud_id(call, REGISTRY_TOPIC);

	if (id)
		call_query(call, QUERY_TOPIC_SKIP,
			   json_pack("{s:I, s:b}", "topic", (json_int_t)id, "preview", preview),
			   answer_skip);
}

void topics_purge(struct call *call)
{
	bool preview = json_is_true(json_object_get(call->body, "preview"));
	uint64_t id = crud_id(call, REGISTRY_TOPIC);

	if (id)
		call_query(call, QUERY_TOPIC_PURGE,
			   json_pack("{s:I, s:b}", "topic", (json_int_t)id, "preview", preview),
			   answer_purge);
}
