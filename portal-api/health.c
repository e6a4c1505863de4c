// The routes for machines: is the portal alive, can the daemon serve, its metrics.
//
// A caller without the permission to see clusters learns how many are not well, but no name,
// address or error of them. These routes are reserved: they are answered also when the server has
// as many requests as it takes. Not here: the metrics' values (server/metrics.c).

#include "portal-api/crud.h"
#include "portal-api/handlers.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "core/catalog/catalog.h"
#include "core/registry/identity.h"
#include "core/registry/lookup.h"
#include "portal-api/counters.h"
#include "portal-api/state.h"

#include <stdio.h>

enum { PROXY_SILENT_S = 5 };

// Answered by the portal's own thread: an answer means that it turns.
void health_live(struct call *call)
{
	call_json(call, 200, json_pack("{s:s}", "status", "ok"));
}

static bool add_check(json_t *checks, const char *name, bool ok, const char *detail)
{
	json_array_append_new(
		checks, json_pack("{s:s, s:b, s:s}", "name", name, "ok", ok, "detail", detail));
	return ok;
}

static bool check_registry(const struct portal *portal, json_t *checks)
{
	char detail[80];
	uint64_t revision = registry_revision(portal->registry);

	snprintf(detail, sizeof detail, "revision %llu", (unsigned long long)revision);
	return add_check(checks, "registry", revision > 0, detail);
}

// The proxy serves what the registry says, and would do so again after a restart.
static bool check_configuration(const struct portal *portal, json_t *checks)
{
	uint64_t wanted = registry_revision(portal->registry);
	uint64_t held = catalog_revision(portal->config.catalog);
	bool stored = catalog_stored(portal->config.catalog);
	char detail[160];

	snprintf(detail, sizeof detail, "revision %llu of %llu is served; last good copy %s",
		 (unsigned long long)held, (unsigned long long)wanted,
		 stored ? "is on disk" : "could not be written");
	return add_check(checks, "configuration", held == wanted && stored, detail);
}

static bool check_proxy(const struct portal *portal, json_t *checks)
{
	uint64_t age_ns = counters_age_ns(portal->counters, clock_now_ns());
	char detail[80] = "no proxy has answered yet";

	if (age_ns != UINT64_MAX)
		snprintf(detail, sizeof detail, "answered %.1f s ago", (double)age_ns / 1e9);
	return add_check(checks, "proxy", age_ns < PROXY_SILENT_S * S_NS, detail);
}

// How many are not well, for callers that may not see the clusters: no name, address or error.
static void count_unwell(json_t *checks, size_t unwell, size_t all)
{
	char detail[80];

	if (!unwell)
		return;
	snprintf(detail, sizeof detail, "%zu of %zu not ready; with a token: which and why", unwell,
		 all);
	add_check(checks, "clusters", false, detail);
}

// Each cluster that is not well is shown to callers who may see clusters. One alone does not take
// the others' clients away, so it takes all of them to be down before nothing can be served.
static bool check_clusters(const struct portal *portal, bool shown, json_t *checks)
{
	const json_t *row;
	size_t i, down = 0, unwell = 0;

	json_array_foreach(json_object_get(portal->states, "clusters"), i, row)
	{
		uint64_t id = (uint64_t)json_integer_value(json_object_get(row, "id"));
		const char *state = json_string_value(json_object_get(row, "state"));
		const char *error = json_string_value(json_object_get(row, "error"));
		const char *name = registry_lookup_name(portal->registry, REGISTRY_CLUSTER, id);
		char title[MODEL_NAME_BYTES + 16], detail[400];

		down += strcmp(state, "down") == 0;
		if (strcmp(state, "ready") == 0)
			continue;
		++unwell;
		if (!shown)
			continue;
		snprintf(title, sizeof title, "cluster %s", name ? name : "?");
		snprintf(detail, sizeof detail, "%s%s%s", state, error ? ": " : "",
			 error ? error : "");
		add_check(checks, title, false, detail);
	}
	if (!shown)
		count_unwell(checks, unwell, i);
	return i == 0 || down < i;
}

// Only shown while it stops.
static bool check_leaving(const struct portal *portal, json_t *checks)
{
	return !__atomic_load_n(&portal->leaving, __ATOMIC_RELAXED) ||
	       add_check(checks, "leaving", false, "stopping: clients are being sent away");
}

void health_ready(struct call *call)
{
	const bool shown = call_may(call, "clusters.read");
	json_t *checks = json_array();
	bool ready = check_registry(call->portal, checks);

	ready &= check_configuration(call->portal, checks);
	ready &= check_proxy(call->portal, checks);
	ready &= check_clusters(call->portal, shown, checks);
	ready &= check_leaving(call->portal, checks);
	call_json(call, ready ? 200 : 503,
		  json_pack("{s:b, s:o}", "ready", ready, "checks", checks));
}

void health_metrics(struct call *call)
{
	const struct portal_config *config = &call->portal->config;
	_cleanup_(freep) char *text = NULL;
	size_t size = 0;
	int r = config->metrics ? config->metrics(config->ctx, call->portal, call->query[0].integer,
						  &text, &size)
				: 0;

	if (r < 0)
		call_fail(call, CODE_OVERLOADED, "the metrics could not be written: %s",
			  strerror(-r));
	else
		call_text(call, "text/plain; version=0.0.4; charset=utf-8", text ? text : "", size);
}

static json_t *list_kinds(const struct portal *portal)
{
	const char *const *kind = portal->config.cluster_kinds;
	json_t *names = json_array();

	for (; *kind; ++kind)
		json_array_append_new(names, json_string(*kind));
	return names;
}

void health_system(struct call *call)
{
	struct portal *portal = call->portal;
	uint64_t uptime_ns = clock_now_ns() - portal->started_ns;

	call_json(call, 200,
		  json_pack("{s:s, s:I, s:I, s:I, s:b, s:o}", "version", portal->config.version,
			    "uptime_ms", (json_int_t)(uptime_ns / MS_NS), "started_ms",
			    (json_int_t)portal->started_ms, "revision",
			    (json_int_t)registry_revision(portal->registry), "bootstrapped",
			    registry_identity_bootstrapped(portal->registry), "cluster_kinds",
			    list_kinds(portal)));
}
