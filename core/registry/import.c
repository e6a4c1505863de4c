// Imports topics and groups that lie on a cluster already: a tenant gets them, and they keep their
// names there.
//
// The backend's answer about what exists is compared with what is wanted, in one transaction with
// the rows that are made: all of it or nothing. A physical name belongs to one resource of one
// tenant. Nothing is changed on the backend, now or later: the rows are marked as imported, and
// follow.c keeps a topic's settings in them current.

#include "core/registry/import.h"

#include "core/model/name.h"
#include "core/registry/follow.h"
#include "core/registry/registry.h"
#include "core/registry/resource.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdio.h>

struct importing {
	struct work *work;
	const char *cluster; // its name
	uint64_t cluster_id;
	const json_t *existing; // answer of QUERY_CLUSTER_EXISTING
	json_t *topics, *groups;
};

static const char *text_of(const json_t *object, const char *member)
{
	return json_string_value(json_object_get(object, member));
}

static const json_t *find_named(const json_t *rows, const char *name)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) if (strcmp(text_of(row, "name"), name) == 0) return row;
	return NULL;
}

// ---- whose it is

static const char *const owner_sql[REGISTRY_KIND_COUNT] = {
	[REGISTRY_TOPIC] = "SELECT n.name, t.name FROM topics t JOIN tenants n ON t.tenant = n.id"
			   " WHERE t.cluster = ?1 AND t.physical = ?2",
	[REGISTRY_GROUP] = "SELECT n.name, g.name FROM \"groups\" g JOIN topics t ON g.topic = t.id"
			   " JOIN tenants n ON g.tenant = n.id"
			   " WHERE t.cluster = ?1 AND g.physical = ?2 LIMIT 1",
};

// 1: a tenant owns it already, *ret is {tenant, name}; 0: no tenant does.
static int owner_of(struct db *db, enum registry_kind kind, uint64_t cluster, const char *physical,
		    json_t **ret)
{
	sqlite3_stmt *statement;
	int r = db_query(db, &statement, owner_sql[kind], "it", (int64_t)cluster, physical);

	if (r == 0)
		r = db_step(db, statement);
	if (r != 1)
		return r;
	*ret = json_pack("{s:s, s:s}", "tenant", sqlite3_column_text(statement, 0), "name",
			 sqlite3_column_text(statement, 1));
	sqlite3_reset(statement);
	return *ret ? 1 : -ENOMEM;
}

static int name_owners(struct db *db, enum registry_kind kind, uint64_t cluster, json_t *rows)
{
	json_t *row;
	size_t i;
	int r = 0;

	json_array_foreach(rows, i, row)
	{
		json_t *owner = NULL;

		if (r >= 0)
			r = owner_of(db, kind, cluster, text_of(row, "name"), &owner);
		json_object_set_new(row, "owner", owner ? owner : json_null());
	}
	return r < 0 ? r : 0;
}

int registry_import_owners(struct registry *registry, uint64_t cluster, json_t *existing)
{
	int r = name_owners(&registry->db, REGISTRY_TOPIC, cluster,
			    json_object_get(existing, "topics"));

	return r < 0 ? r
		     : name_owners(&registry->db, REGISTRY_GROUP, cluster,
				   json_object_get(existing, "groups"));
}

// ---- taking it

static int refuse_owned(struct importing *importing, enum registry_kind kind, const char *physical)
{
	json_t *owner = NULL;
	int r = owner_of(&importing->work->registry->db, kind, importing->cluster_id, physical,
			 &owner);

	if (r == 1)
		work_refuse(importing->work, CODE_CONFLICT,
			    "it is %s \"%s\" of tenant \"%s\" already", row_kind(kind).name,
			    text_of(owner, "name"), text_of(owner, "tenant"));
	json_decref(owner);
	return r;
}

// Takes `body`.
static int take_object(struct importing *importing, enum registry_kind kind, const char *physical,
		       json_t *body, json_t *list)
{
	struct work *work = importing->work;
	json_t *json = NULL;
	int r = body ? refuse_owned(importing, kind, physical) : -ENOMEM;

	work->imported_as = physical;
	if (r == 0)
		r = resource_create(work, kind, NULL, body, &json);
	work->imported_as = NULL;
	json_decref(body);
	if (r == 0)
		r = json_array_append_new(list, json) < 0 ? -ENOMEM : 0;
	return r;
}

// The best its cluster has needs copies that an acknowledgement waits for.
static bool is_replicated(const json_t *found)
{
	return json_integer_value(json_object_get(found, "min_insync")) >= 2 &&
	       json_integer_value(json_object_get(found, "replication")) >= 2;
}

static int take_topic(struct importing *importing, const json_t *wanted)
{
	const char *physical = text_of(wanted, "physical"), *name = text_of(wanted, "name");
	const json_t *found = find_named(json_object_get(importing->existing, "topics"), physical);
	struct follow_settings settings = follow_read(json_object_get(found, "settings"));
	json_t *body;

	if (!found)
		return work_refuse(importing->work, CODE_NOT_FOUND,
				   "cluster \"%s\" has no topic \"%s\"", importing->cluster,
				   physical);
	body = json_pack("{s:s, s:s, s:O, s:b, s:I, s:I, s:I}", "name", name ? name : physical,
			 "cluster", importing->cluster, "partitions",
			 json_object_get(found, "partitions"), "native", 1, "message_bytes",
			 (json_int_t)settings.message_bytes, "retention_ms",
			 (json_int_t)settings.retention_ms, "retention_bytes",
			 (json_int_t)settings.retention_bytes);
	if (body && !is_replicated(found))
		json_object_set_new(body, "durability", json_string("D1"));
	return take_object(importing, REGISTRY_TOPIC, physical, body, importing->topics);
}

// The tenant's topic that a consumer group has offsets in: its name, or NULL with a refusal when
// there is none or more than one.
static const char *topic_of(struct importing *importing, const json_t *found, int *ret_r)
{
	struct work *work = importing->work;
	const char *one = NULL;
	const json_t *topic;
	size_t i, count = 0;

	json_array_foreach(json_object_get(found, "topics"), i, topic)
	{
		json_t *owner = NULL;
		int r = owner_of(&work->registry->db, REGISTRY_TOPIC, importing->cluster_id,
				 json_string_value(topic), &owner);

		if (r < 0)
			*ret_r = r;
		if (r == 1 && strcmp(text_of(owner, "tenant"), row_name(work->tenant)) == 0) {
			one = arena_text(&work->arena, text_of(owner, "name"));
			++count;
		}
		json_decref(owner);
	}
	if (count == 1 || *ret_r < 0)
		return one;
	*ret_r = work_refuse(work, CODE_BAD_REQUEST,
			     count ? "the consumer group reads several topics of the tenant: name "
				     "one as `topic`"
				   : "no topic of the tenant holds offsets of the consumer group: "
				     "import its topic too, or name one as `topic`");
	return NULL;
}

static int take_group(struct importing *importing, const json_t *wanted)
{
	const char *physical = text_of(wanted, "physical"), *name = text_of(wanted, "name"),
		   *topic = text_of(wanted, "topic");
	const json_t *found = find_named(json_object_get(importing->existing, "groups"), physical),
		     *dead = json_object_get(wanted, "dead_letter");
	const json_t *members = json_object_get(found, "members");
	json_t *body;
	int r = 0;

	if (!found)
		return work_refuse(importing->work, CODE_NOT_FOUND,
				   "cluster \"%s\" has no consumer group \"%s\"",
				   importing->cluster, physical);
	if (json_integer_value(members))
		return work_refuse(
			importing->work, CODE_IN_USE,
			"consumer group \"%s\" has %lld members: stop them first, because "
			"offsets have one owner at a time",
			physical, (long long)json_integer_value(members));
	if (json_is_null(members))
		return work_refuse(importing->work, CODE_NOT_READY,
				   "the cluster did not say in time whether consumer group \"%s\" "
				   "has members",
				   physical);
	if (!topic)
		topic = topic_of(importing, found, &r);
	if (!topic)
		return r;
	body = json_pack("{s:s, s:s, s:b}", "name", name ? name : physical, "topic", topic,
			 "dead_letter", !dead || json_is_true(dead));
	return take_object(importing, REGISTRY_GROUP, physical, body, importing->groups);
}

static int take_list(struct importing *importing, const json_t *wanted, const char *member,
		     int (*one)(struct importing *importing, const json_t *wanted))
{
	const json_t *row;
	char where[48];
	size_t i;

	json_array_foreach(json_object_get(wanted, member), i, row)
	{
		int r = one(importing, row);

		snprintf(where, sizeof where, "/%s/%zu", member, i);
		if (r == 1)
			work_errors_below(importing->work, where);
		if (r != 0)
			return r;
	}
	return 0;
}

static int take_tenant(struct work *work, const char *name)
{
	const char *problem;
	char *normal;
	int r = name_normalize(name, &normal, &problem);

	if (r == -EINVAL)
		return work_refuse(work, CODE_BAD_REQUEST, "the tenant's name %s", problem);
	if (r < 0)
		return r;
	r = store_tenant(work, normal);
	free(normal);
	return r;
}

static int take_all(struct importing *importing, const char *cluster, const json_t *wanted)
{
	const struct registry_ref ref = {.kind = REGISTRY_CLUSTER, .name = cluster};
	struct row *row = arena_alloc(&importing->work->arena, sizeof *row);
	int r = row ? store_resolve(importing->work, &ref, row) : -ENOMEM;

	if (r != 0)
		return r;
	importing->cluster = row_name(row);
	importing->cluster_id = row->object.id;
	r = take_tenant(importing->work, text_of(wanted, "tenant"));
	if (r == 0)
		r = take_list(importing, wanted, "topics", take_topic);
	if (r == 0)
		r = take_list(importing, wanted, "groups", take_group);
	if (r == 0 && !json_array_size(importing->topics) && !json_array_size(importing->groups))
		r = work_refuse(importing->work, CODE_BAD_REQUEST,
				"nothing is chosen: give topics, groups or both");
	return r;
}

int registry_import(struct registry *registry, const struct registry_actor *actor,
		    const char *cluster, const json_t *wanted, const json_t *existing, bool preview,
		    struct registry_result *ret)
{
	struct work work;
	struct importing importing = {.work = &work,
				      .existing = existing,
				      .topics = json_array(),
				      .groups = json_array()};
	int r = work_begin(&work, registry, actor, ret);

	if (r == 0)
		r = take_all(&importing, cluster, wanted);
	if (r == 0) {
		ret->body = json_pack("{s:b, s:O, s:O}", "preview", preview, "topics",
				      importing.topics, "groups", importing.groups);
		if (preview)
			r = 1; // rolled back; the result stays OK
	}
	json_decref(importing.topics);
	json_decref(importing.groups);
	return work_end(&work, r);
}
