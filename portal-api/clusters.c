// Clusters: the registered backends, their state, and the topics and groups that already exist on
// them.
//
// The registry answers what an operator has configured. Only the proxies reach a cluster, so its
// state, probes and damage are live queries (core/catalog/query.h), or what the last sample
// brought. Not here: which options a kind of cluster takes (server/validate.c).

#include "portal-api/clusters.h"
#include "core/registry/import.h"
#include "core/registry/lookup.h"
#include "core/registry/page.h"
#include "core/registry/resource.h"
#include "portal-api/crud.h"
#include "portal-api/handlers.h"
#include "portal-api/state.h"

static void add_status(const struct portal *portal, json_t *cluster)
{
	const json_t *id = json_object_get(cluster, "id"),
		     *state = state_cluster(portal, (uint64_t)json_integer_value(id));
	json_t *status = state ? json_copy((json_t *)(uintptr_t)state) : json_null();

	json_object_del(status, "id");
	json_object_del(status, "probe_counts"); // for metrics
	json_object_set_new(cluster, "status", status);
}

void clusters_list(struct call *call)
{
	struct registry_query query = crud_query(call);
	struct registry_result result = {0};
	int r = registry_page(call->portal->registry, REGISTRY_CLUSTER, &query, &result);
	json_t *cluster;
	size_t i;

	json_array_foreach(json_object_get(result.body, "items"), i, cluster)
		add_status(call->portal, cluster);
	call_result(call, r, &result, NULL);
}

bool clusters_check_kind(struct call *call, const json_t *cluster, const char *field,
			 json_t *errors)
{
	const char *const *kind = call->portal->config.cluster_kinds;
	const json_t *wanted = json_object_get(cluster, "kind");
	char detail[200];

	if (!json_is_string(wanted))
		return true; // the registry says what is wrong with it
	for (; *kind; ++kind) {
		if (strcmp(*kind, json_string_value(wanted)) == 0)
			return true;
	}
	body_rule_list(call->portal->config.cluster_kinds, detail, sizeof detail);
	body_rule_fault(errors, field, detail);
	return false;
}

static bool check_kind(struct call *call)
{
	json_t *errors = json_array();

	if (clusters_check_kind(call, call->body, "/kind", errors)) {
		json_decref(errors);
		return true;
	}
	call_fail_fields(call, CLUSTERS_KIND_UNKNOWN, errors);
	return false;
}

void clusters_create(struct call *call)
{
	if (check_kind(call))
		crud_create(call, REGISTRY_CLUSTER, "name");
}

void clusters_get(struct call *call)
{
	const struct registry_ref ref = crud_ref(call, REGISTRY_CLUSTER);
	struct registry_result result = {0};
	int r = registry_resource_get(call->portal->registry, &ref, &result);

	if (result.body && result.code == CODE_OK)
		add_status(call->portal, result.body);
	call_result(call, r, &result, NULL);
}

void clusters_put(struct call *call)
{
	if (check_kind(call))
		crud_put(call, REGISTRY_CLUSTER);
}

void clusters_delete(struct call *call)
{
	crud_delete(call, REGISTRY_CLUSTER);
}

static void answer_probe(struct call *call, enum code code, json_t *body, const char *text)
{
	if (code != CODE_OK) {
		call_query_failed(call, code, text);
		return;
	}
	if (!json_object_get(body, "error"))
		json_object_set_new(body, "error", json_null());
	if (!json_object_get(body, "latency_us"))
		json_object_set_new(body, "latency_us", json_null());
	call_json(call, 200, body);
}

static void query_about(struct call *call, enum query_kind kind)
{
	uint64_t id = crud_id(call, REGISTRY_CLUSTER);

	if (id)
		call_query(call, kind, json_pack("{s:I}", "cluster", (json_int_t)id), answer_probe);
}

void clusters_probe(struct call *call)
{
	query_about(call, QUERY_PROBE);
}

void clusters_state(struct call *call)
{
	query_about(call, QUERY_CLUSTER_STATE);
}

static void answer_damage(struct call *call, enum code code, json_t *body, const char *text)
{
	json_t *row, *name;
	size_t i;

	if (code != CODE_OK) {
		call_query_failed(call, code, text);
		return;
	}
	json_array_foreach(json_object_get(body, "damage"), i, row)
	{
		const char *known = registry_lookup_name(
			call->portal->registry, REGISTRY_TOPIC,
			(uint64_t)json_integer_value(json_object_get(row, "topic")));

		name = known ? json_string(known) : json_null();
		json_object_set_new(row, "topic_name", name);
	}
	call_json(call, 200, body);
}

void clusters_damage(struct call *call)
{
	uint64_t id = crud_id(call, REGISTRY_CLUSTER);

	if (id)
		call_query(call, QUERY_DAMAGE, json_pack("{s:I}", "cluster", (json_int_t)id),
			   answer_damage);
}

// ---- what lies on it already

static void query_existing(struct call *call, call_then_fn then)
{
	uint64_t id = crud_id(call, REGISTRY_CLUSTER);

	if (id)
		call_query(call, QUERY_CLUSTER_EXISTING,
			   json_pack("{s:I}", "cluster", (json_int_t)id), then);
}

static void answer_existing(struct call *call, enum code code, json_t *body, const char *text)
{
	const struct registry_ref ref = crud_ref(call, REGISTRY_CLUSTER);
	struct registry_result result = {.code = code, .body = body};
	int r;

	if (code != CODE_OK) {
		call_query_failed(call, code, text);
		return;
	}
	r = registry_import_owners(call->portal->registry,
				   registry_lookup_id(call->portal->registry, &ref), body);
	call_result(call, r, &result, NULL);
}

void clusters_existing(struct call *call)
{
	query_existing(call, answer_existing);
}

static void answer_import(struct call *call, enum code code, json_t *body, const char *text)
{
	struct registry_result result = {0};
	int r;

	if (code != CODE_OK) {
		call_query_failed(call, code, text);
		return;
	}
	if (!call_still_allowed(call)) {
		json_decref(body);
		return;
	}
	r = registry_import(call->portal->registry, &call->actor, call->params[0], call->body, body,
			    json_is_true(json_object_get(call->body, "preview")), &result);
	json_decref(body);
	call_result(call, r, &result, NULL);
	state_wake_reconciler(call->portal);
}

void clusters_import(struct call *call)
{
	query_existing(call, answer_import);
}
