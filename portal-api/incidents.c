// Asks every cluster for its damage in rounds, and keeps what concerns a topic or a group as a
// whole (of these kinds), so that it can say so without a question.
//
// What is known: an object for each cluster, {"7": {"topic 12": "why", "group 13": "why"}}. A
// cluster that cannot be asked keeps what was known; one that is not there any more is dropped at
// the next round.

#include "portal-api/incidents.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "core/catalog/catalog.h"
#include "portal-api/portal_query.h"
#include "portal-api/state.h"

#include <errno.h>
#include <inttypes.h>

#define ROUND_NS (10 * S_NS) // from the beginning of one round to the next
#define ID_TEXT  24
#define KEY_TEXT 32

struct incidents {
	struct portal *portal;
	json_t *clusters; // what is known
	json_t *round;    // ids of the clusters that are to be asked
	size_t at;
	bool asking;
	uint64_t due_ns;
};

static void id_write(char text[ID_TEXT], uint64_t id)
{
	snprintf(text, ID_TEXT, "%" PRIu64, id);
}

static void key_write(char text[KEY_TEXT], const char *kind, uint64_t id)
{
	snprintf(text, KEY_TEXT, "%s %" PRIu64, kind, id);
}

static json_t *problems_of(const json_t *damage)
{
	json_t *problems = json_object();
	const json_t *row;
	char key[KEY_TEXT];
	size_t i;

	json_array_foreach(damage, i, row)
	{
		const char *kind = json_string_value(json_object_get(row, "kind"));

		if (!kind || (strcmp(kind, "topic") != 0 && strcmp(kind, "group") != 0))
			continue;
		key_write(key, kind, (uint64_t)json_integer_value(json_object_get(row, kind)));
		json_object_set(problems, key, json_object_get(row, "problem"));
	}
	return problems;
}

static void ask_next(struct incidents *incidents);

static void on_damage(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct incidents *incidents = ctx;
	char id[ID_TEXT];

	id_write(id, (uint64_t)json_integer_value(json_array_get(incidents->round, incidents->at)));
	if (code == CODE_OK)
		json_object_set_new(incidents->clusters, id,
				    problems_of(json_object_get(answer, "damage")));
	json_decref(answer);
	++incidents->at;
	incidents->asking = false;
	ask_next(incidents);
}

// May run inside the previous answer, since a query may be answered before portal_query() returns.
static void ask_next(struct incidents *incidents)
{
	const json_t *id = json_array_get(incidents->round, incidents->at);

	if (!id || incidents->portal->stopping)
		return;
	incidents->asking = true;
	portal_query(incidents->portal, QUERY_DAMAGE,
		     json_pack("{s:I}", "cluster", json_integer_value(id)), on_damage, incidents);
}

static void cluster_note(void *ctx, const struct model_object *object)
{
	json_array_append_new(ctx, json_integer((json_int_t)object->id));
}

// Clusters that are gone.
static void clusters_forget(struct incidents *incidents)
{
	json_t *kept = json_object();
	const json_t *cluster;
	char id[ID_TEXT];
	size_t i;

	json_array_foreach(incidents->round, i, cluster)
	{
		id_write(id, (uint64_t)json_integer_value(cluster));
		json_object_set(kept, id, json_object_get(incidents->clusters, id));
	}
	json_decref(incidents->clusters);
	incidents->clusters = kept;
}

void incidents_tick(struct incidents *incidents)
{
	const struct portal *portal = incidents->portal;
	uint64_t now_ns = clock_now_ns();

	if (incidents->asking || now_ns < incidents->due_ns || !portal->config.catalog ||
	    !portal->config.queries)
		return;
	incidents->due_ns = now_ns + ROUND_NS;
	json_array_clear(incidents->round);
	incidents->at = 0;
	catalog_each(portal->config.catalog, MODEL_CLUSTER, cluster_note, incidents->round);
	clusters_forget(incidents);
	ask_next(incidents);
}

static const char *problem_find(const struct incidents *incidents, const char *kind, uint64_t id)
{
	const json_t *problems, *problem;
	const char *cluster;
	char key[KEY_TEXT];

	key_write(key, kind, id);
	json_object_foreach(incidents->clusters, cluster, problems)
	{
		problem = json_object_get(problems, key);
		if (problem)
			return json_string_value(problem);
	}
	return NULL;
}

const char *incidents_topic(const struct incidents *incidents, uint64_t topic)
{
	return problem_find(incidents, "topic", topic);
}

const char *incidents_group(const struct incidents *incidents, uint64_t group)
{
	return problem_find(incidents, "group", group);
}

int incidents_new(struct portal *portal, struct incidents **ret)
{
	struct incidents *incidents = calloc(1, sizeof *incidents);

	if (!incidents)
		return -ENOMEM;
	incidents->portal = portal;
	incidents->clusters = json_object();
	incidents->round = json_array();
	*ret = incidents;
	return 0;
}

void incidents_free(struct incidents *incidents)
{
	if (!incidents)
		return;
	json_decref(incidents->clusters);
	json_decref(incidents->round);
	free(incidents);
}
