// Subscription groups: their backlog, and moving them (reset, purge).
//
// Only proxies know a backlog, so each of these routes is a live query. The list of all groups
// instead answers with the portal's last look (backlogs.c). Resets and purges are noted in the
// audit log unless they are previews.
//
// Not here: which messages a reset skips or replays, which is the backend's answer.

#include "portal-api/crud.h"
#include "portal-api/handlers.h"

#include "core/base/util.h"
#include "core/registry/lookup.h"
#include "portal-api/backlogs.h"
#include "portal-api/counters.h"
#include "portal-api/incidents.h"
#include "portal-api/problem.h"
#include "portal-api/state.h"

static const char *problem_of(const struct portal *portal, uint64_t group)
{
	const char *problem = backlogs_problem(portal->backlogs, group);

	return problem ? problem : incidents_group(portal->incidents, group);
}

void groups_list(struct call *call)
{
	struct registry_query query = crud_query(call);

	query.topic = call->query[LIST_FILTER].text;
	query.state = call->query[LIST_FILTER + 1].text;
	problem_list(call, REGISTRY_GROUP, &query, problem_of);
}

void groups_create(struct call *call)
{
	crud_create(call, REGISTRY_GROUP, "name");
}

void groups_get(struct call *call)
{
	problem_get(call, REGISTRY_GROUP, problem_of);
}

void groups_put(struct call *call)
{
	crud_put(call, REGISTRY_GROUP);
}

void groups_delete(struct call *call)
{
	crud_delete(call, REGISTRY_GROUP);
}

// The first BACKLOG_PARTS are the backlog. All parts together are sent + replayed.
enum { BACKLOG_PARTS = 4 };
static const char *const parts[] = {"ready", "in_flight", "retrying", "delayed", "acked",
				    "dead",  "expired",   "skipped",  "replayed"};

static json_int_t count_of(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

// Adds the sum of the parts to each partition, and the sums over all of them.
static void add_sums(json_t *body)
{
	json_int_t sums[ARRAY_SIZE(parts)] = {0}, all = 0, sent = 0;
	bool positions = true; // of every partition
	json_t *partition;
	size_t index;

	json_array_foreach(json_object_get(body, "partitions"), index, partition)
	{
		json_int_t backlog = 0;
		for (size_t i = 0; i < ARRAY_SIZE(parts); ++i) {
			json_int_t count = count_of(partition, parts[i]);

			sums[i] += count;
			backlog += i < BACKLOG_PARTS ? count : 0;
			json_object_set_new(partition, parts[i], json_integer(count));
		}
		json_object_set_new(partition, "backlog", json_integer(backlog));
		positions = positions && json_is_integer(json_object_get(partition, "end"));
		sent += count_of(partition, "end");
		all += backlog;
	}
	for (size_t i = 0; i < ARRAY_SIZE(parts); ++i)
		json_object_set_new(body, parts[i], json_integer(sums[i]));
	json_object_set_new(body, "backlog", json_integer(all));
	json_object_set_new(body, "sent", positions ? json_integer(sent) : json_null());
}

static void answer_backlog(struct call *call, enum code code, json_t *body, const char *text)
{
	if (code != CODE_OK) {
		call_query_failed(call, code, text);
		return;
	}
	add_sums(body);
	if (!json_object_get(body, "dead_letter_refused"))
		json_object_set_new(body, "dead_letter_refused", json_null());
	call_json(call, 200, body);
}

void groups_backlog(struct call *call)
{
	uint64_t id = crud_id(call, REGISTRY_GROUP);

	if (id)
		call_query(call, QUERY_BACKLOG, json_pack("{s:I}", "group", (json_int_t)id),
			   answer_backlog);
}

// ---- all at once, as last looked at

struct listing {
	struct call *call;
	uint64_t tenant; // 0: of all
	json_t *rows;
};

static json_t *count_or_null(const struct backlog_row *row, uint64_t count)
{
	return row->at_ms ? json_integer((json_int_t)count) : json_null();
}

static json_t *row_json(const struct backlog_row *row)
{
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{"ready", row->ready},
		{"in_flight", row->in_flight},
		{"retrying", row->retrying},
		{"delayed", row->delayed},
		{"backlog", row->ready + row->in_flight + row->retrying + row->delayed},
		{"sent", row->sent},
		{"replayed", row->replayed},
		{"acked", row->acked},
		{"dead", row->dead},
		{"expired", row->expired},
		{"skipped", row->skipped},
	};
	json_t *json = json_pack("{s:o, s:o}", "oldest_ms",
				 row->oldest_ms > 0 ? json_integer(row->oldest_ms) : json_null(),
				 "at_ms", row->at_ms ? json_integer(row->at_ms) : json_null());

	for (size_t i = 0; json && i < ARRAY_SIZE(counts); ++i)
		json_object_set_new(json, counts[i].name, count_or_null(row, counts[i].value));
	if (json && !row->positions)
		json_object_set_new(json, "sent", json_null());
	return json;
}

static void listing_add(void *ctx, const struct backlog_row *row)
{
	struct listing *listing = ctx;
	struct registry *registry = listing->call->portal->registry;
	const char *name;
	json_t *json;

	if (listing->tenant && listing->tenant != row->tenant)
		return;
	name = registry_lookup_name(registry, REGISTRY_GROUP, row->group);
	json = name ? row_json(row) : NULL; // deleted since
	if (!json)
		return;
	json_object_set_new(json, "group", json_string(name));
	name = registry_lookup_name(registry, REGISTRY_TENANT, row->tenant);
	json_object_set_new(json, "tenant", name ? json_string(name) : json_null());
	json_array_append_new(listing->rows, json);
}

static void listing_answer(struct call *call, uint64_t tenant)
{
	struct listing listing = {.call = call, .tenant = tenant, .rows = json_array()};

	backlogs_each(call->portal->backlogs, listing_add, &listing);
	call_json(call, 200, json_pack("{s:o}", "items", listing.rows));
}

void groups_backlogs(struct call *call)
{
	listing_answer(call, call->tenant);
}

void groups_backlogs_all(struct call *call)
{
	listing_answer(call, 0);
}

// Reset and purge end alike: what was moved, in the audit log unless it was a preview.
static void answer_act(struct call *call, const char *action, enum code code, json_t *body,
		       const char *text)
{
	bool preview = json_is_true(json_object_get(call->body, "preview"));

	if (code != CODE_OK) {
		call_query_failed(call, code, text);
		return;
	}
	if (!preview && !crud_note(call, action, "group", call->params[1], body)) {
		json_decref(body);
		return;
	}
	json_object_set_new(body, "preview", json_boolean(preview));
	call_json(call, 200, body);
}

static void answer_reset(struct call *call, enum code code, json_t *body, const char *text)
{
	answer_act(call, "reset", code, body, text);
}

static void answer_purge(struct call *call, enum code code, json_t *body, const char *text)
{
	answer_act(call, "purge", code, body, text);
}

// The query's form of `to`; NULL: a member is missing or does not belong, answered.
static json_t *reset_target(struct call *call)
{
	const json_t *to = json_object_get(call->body, "to");
	const char *at = json_string_value(json_object_get(to, "at"));
	json_t *time = json_object_get(to, "time_ms"),
	       *positions = json_object_get(to, "positions");
	bool by_time = strcmp(at, "time") == 0, by_position = strcmp(at, "positions") == 0;

	if (by_time != (time != NULL) || by_position != (positions != NULL)) {
		call_fail(call, CODE_BAD_REQUEST,
			  "/to: time_ms goes with at \"time\", positions with at \"positions\", "
			  "nothing with \"earliest\" and \"latest\"");
		return NULL;
	}
	if (by_time)
		return json_pack("{s:I}", "time_ms", (json_int_t)json_number_value(time));
	if (by_position)
		return json_pack("{s:O}", "positions", positions);
	return json_pack("{s:b}", at, true);
}

void groups_reset(struct call *call)
{
	bool preview = json_is_true(json_object_get(call->body, "preview"));
	json_t *to = reset_target(call);
	uint64_t id = to ? crud_id(call, REGISTRY_GROUP) : 0;

	if (!id) {
		json_decref(to);
		return;
	}
	call_query(
		call, QUERY_GROUP_RESET,
		json_pack("{s:I, s:o, s:b}", "group", (json_int_t)id, "to", to, "preview", preview),
		answer_reset);
}

void groups_purge(struct call *call)
{
	bool preview = json_is_true(json_object_get(call->body, "preview"));
	uint64_t id = crud_id(call, REGISTRY_GROUP);

	if (id)
		call_query(call, QUERY_GROUP_PURGE,
			   json_pack("{s:I, s:b}", "group", (json_int_t)id, "preview", preview),
			   answer_purge);
}
