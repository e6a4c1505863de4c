// The statistics routes: totals, rates and quota use.
//
// Every answer first queries the proxies for their counters, so that what was sent before the
// request is in the answer. If no proxy answers, the last totals are shown and marked incomplete.
// Not here: the bodies (counters.c).

#include "portal-api/crud.h"
#include "portal-api/handlers.h"

#include "core/base/clock.h"
#include "core/catalog/catalog.h"
#include "portal-api/counters.h"
#include "portal-api/state.h"

static void refresh_counters(struct call *call, enum code code, json_t *totals)
{
	counters_take(call->portal->counters, code == CODE_OK ? totals : NULL, clock_now_ns(),
		      clock_wall_ms());
	json_decref(totals);
}

static void query_totals(struct call *call, call_then_fn then)
{
	call_query(call, QUERY_TOTALS, json_object(), then);
}

static void answer_platform(struct call *call, enum code code, json_t *totals, const char *text)
{
	refresh_counters(call, code, totals);
	call_json(call, 200, counters_of_platform(call->portal->counters));
}

void statistics_platform(struct call *call)
{
	query_totals(call, answer_platform);
}

static void answer_tenant(struct call *call, enum code code, json_t *totals, const char *text)
{
	const struct tenant *tenant;

	refresh_counters(call, code, totals);
	tenant = catalog_tenant(call->portal->config.catalog, call->tenant);
	if (!tenant) {
		call_fail(call, CODE_NOT_FOUND, "there is no tenant \"%s\"", call->params[0]);
		return;
	}
	call_json(call, 200,
		  counters_of_tenant(call->portal->counters, call->tenant, &tenant->limits));
	model_unref(tenant);
}

void statistics_tenant(struct call *call)
{
	query_totals(call, answer_tenant);
}

static void answer_one(struct call *call, enum registry_kind kind)
{
	uint64_t id = crud_id(call, kind);

	if (id)
		call_json(call, 200, counters_of_resource(call->portal->counters, kind, id));
}

static void answer_topic(struct call *call, enum code code, json_t *totals, const char *text)
{
	refresh_counters(call, code, totals);
	answer_one(call, REGISTRY_TOPIC);
}

void statistics_topic(struct call *call)
{
	if (crud_id(call, REGISTRY_TOPIC))
		query_totals(call, answer_topic);
}

static void answer_group(struct call *call, enum code code, json_t *totals, const char *text)
{
	refresh_counters(call, code, totals);
	answer_one(call, REGISTRY_GROUP);
}

void statistics_group(struct call *call)
{
	if (crud_id(call, REGISTRY_GROUP))
		query_totals(call, answer_group);
}
