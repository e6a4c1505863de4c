// Deletes resources: first all that would be deleted is found, then the request is refused, shown,
// or carried out. Topics and groups are only marked; lifecycle.c drops them when their backend has
// let them go, and then the tenant or cluster that waited for the last of them.

#include "core/registry/delete.h"

#include "core/registry/audit.h"
#include "core/registry/constraints.h"
#include "core/registry/lifecycle.h"
#include "core/registry/registry.h"
#include "core/registry/resource.h"
#include "core/registry/resource_state.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>

#define AFFECTED_MAX 10000 // listed; a tenant may have a million topics
#define AT_ONCE_MAX  1000  // topics and groups marked in one transaction; the rest follows

struct victim {
	enum registry_kind kind;
	uint64_t id;
	bool weak; // goes along as a matter of course; needs no force
};

struct removal {
	struct work *work;
	struct victim *victims;
	size_t count, capacity;
};

static int add_victim(struct removal *removal, enum registry_kind kind, uint64_t id, bool weak)
{
	if (removal->count == removal->capacity) {
		size_t capacity = MAX(removal->capacity * 2, 16u);
		void *grown = realloc(removal->victims, capacity * sizeof *removal->victims);

		if (!grown)
			return -ENOMEM;
		removal->victims = grown;
		removal->capacity = capacity;
	}
	removal->victims[removal->count++] = (struct victim){kind, id, weak};
	return 0;
}

static int add_all(struct removal *removal, enum registry_kind kind, const char *sql, uint64_t id,
		   bool weak)
{
	struct db *db = &removal->work->registry->db;
	sqlite3_stmt *statement;
	int r = db_query(db, &statement, sql, "i", (int64_t)id);

	while (r == 0 && (r = db_step(db, statement)) == 1)
		r = add_victim(removal, kind, (uint64_t)sqlite3_column_int64(statement, 0), weak);
	return r;
}

// Groups that read the topic, and their dead-letter topics, and groups that read those, and so on.
static const char groups_below[] =
	"WITH RECURSIVE below(topic) AS (SELECT ?1 UNION SELECT dead_letter_topic FROM \"groups\" g"
	" JOIN below ON g.topic = below.topic WHERE dead_letter_topic != 0)"
	" SELECT id FROM \"groups\" WHERE topic IN below ORDER BY id";
static const char topics_below[] =
	"WITH RECURSIVE below(topic) AS (SELECT ?1 UNION SELECT dead_letter_topic FROM \"groups\" g"
	" JOIN below ON g.topic = below.topic WHERE dead_letter_topic != 0)"
	" SELECT topic FROM below WHERE topic != ?1 ORDER BY topic";

// Tokens that a user or token made, and those that these made, and so on.
static const char tokens_below[] =
	"WITH RECURSIVE below(id) AS (SELECT ?1 UNION SELECT t.id FROM tokens t"
	" JOIN below ON t.maker_id = below.id)"
	" SELECT id FROM below WHERE id != ?1 ORDER BY id";

static int find_below_group(struct removal *removal, const struct row *row)
{
	uint64_t dead = row->model.group.dead_letter;
	int r;

	if (!dead)
		return 0;
	r = add_victim(removal, REGISTRY_TOPIC, dead, true);
	if (r == 0)
		r = add_all(removal, REGISTRY_GROUP, groups_below, dead, false);
	return r == 0 ? add_all(removal, REGISTRY_TOPIC, topics_below, dead, false) : r;
}

static int find_of_tenant(struct removal *removal, uint64_t tenant)
{
	static const struct {
		enum registry_kind kind;
		const char *sql;
	} owned[] = {
		{REGISTRY_ACCESS_KEY, "SELECT id FROM access_keys WHERE tenant = ?1 ORDER BY id"},
		{REGISTRY_USER, "SELECT id FROM users WHERE tenant = ?1 ORDER BY id"},
		{REGISTRY_TOKEN, "SELECT id FROM tokens WHERE tenant = ?1 ORDER BY id"},
		{REGISTRY_GROUP, "SELECT id FROM \"groups\" WHERE tenant = ?1 ORDER BY id"},
		{REGISTRY_TOPIC, "SELECT id FROM topics WHERE tenant = ?1 ORDER BY id"},
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(owned) && r == 0; ++i)
		r = add_all(removal, owned[i].kind, owned[i].sql, tenant, false);
	return r;
}

static int find_on_cluster(struct removal *removal, uint64_t cluster)
{
	int r = add_all(removal, REGISTRY_GROUP,
			"SELECT g.id FROM \"groups\" g JOIN topics t ON g.topic = t.id"
			" WHERE t.cluster = ?1 ORDER BY g.id",
			cluster, false);

	return r == 0 ? add_all(removal, REGISTRY_TOPIC,
				"SELECT id FROM topics WHERE cluster = ?1 ORDER BY id", cluster,
				false)
		      : r;
}

// Everything that cannot stay without the row.
static int find_victims(struct removal *removal, enum registry_kind kind, const struct row *row)
{
	uint64_t id = row->object.id;
	int r;

	switch (kind) {
	case REGISTRY_USER:
	case REGISTRY_TOKEN: return add_all(removal, REGISTRY_TOKEN, tokens_below, id, false);
	case REGISTRY_TENANT: return find_of_tenant(removal, id);
	case REGISTRY_CLUSTER: return find_on_cluster(removal, id);
	case REGISTRY_GROUP: return find_below_group(removal, row);
	case REGISTRY_TOPIC:
		r = add_all(removal, REGISTRY_GROUP, groups_below, id, false);
		return r == 0 ? add_all(removal, REGISTRY_TOPIC, topics_below, id, false) : r;
	default: return 0;
	}
}

static bool needs_force(const struct removal *removal)
{
	for (size_t i = 0; i < removal->count; ++i)
		if (!removal->victims[i].weak)
			return true;
	return false;
}

static int list_affected(struct removal *removal, enum registry_kind kind, const struct row *row)
{
	struct work *work = removal->work;
	struct row victim;

	if (!work->ret->affected)
		work->ret->affected = json_array();
	work_affect(work, kind,
		    kind == REGISTRY_TENANT ? NULL : store_tenant_name(work, row_tenant(kind, row)),
		    row_name(row));
	for (size_t i = 0; i < MIN(removal->count, (size_t)AFFECTED_MAX); ++i) {
		int r = store_load(work, removal->victims[i].kind, removal->victims[i].id, &victim);

		if (r < 0)
			return r;
		if (r == 1)
			work_affect(work, removal->victims[i].kind,
				    store_tenant_name(
					    work, row_tenant(removal->victims[i].kind, &victim)),
				    row_name(&victim));
	}
	return 0;
}

// ---- doing it

static int mark_deleting(struct work *work, enum registry_kind kind, struct row *row)
{
	if (kind == REGISTRY_TOPIC || kind == REGISTRY_GROUP) {
		resource_state_move(kind, row, MODEL_DELETING);
	} else {
		row->deleting = true;
		if (kind == REGISTRY_TENANT)
			row->model.tenant.suspended = true;
	}
	row->state_reason = NULL;
	row->edited = work->revision;
	return store_update(work, kind, row);
}

static bool is_deleting(enum registry_kind kind, const struct row *row)
{
	return row->deleting || ((kind == REGISTRY_TOPIC || kind == REGISTRY_GROUP) &&
				 resource_state_get(kind, row) == MODEL_DELETING);
}

static int remove_row(struct work *work, enum registry_kind kind, struct row *row)
{
	json_t *before;
	int r;

	if (is_deleting(kind, row))
		return 0;
	before = store_json(work, kind, row);
	r = before ? audit_row(work, "delete", kind, row, before, NULL) : -ENOMEM;
	json_decref(before);
	if (r < 0)
		return r;
	if (kind == REGISTRY_ACCESS_KEY || kind >= REGISTRY_USER)
		return store_drop(work, kind, row->object.id);
	return mark_deleting(work, kind, row);
}

static int unbind_from(struct work *work, uint64_t tenant, uint64_t cluster)
{
	struct row *row = arena_alloc(&work->arena, sizeof *row);
	int r = row ? store_load(work, REGISTRY_TENANT, tenant, row) : -ENOMEM;
	uint64_t *clusters;
	size_t left = 0;

	if (r != 1)
		return r;
	clusters = (uint64_t *)(uintptr_t)row->model.tenant.clusters; // this work's own copy
	for (size_t i = 0; i < row->model.tenant.cluster_count; ++i)
		if (clusters[i] != cluster)
			clusters[left++] = clusters[i];
	row->model.tenant.cluster_count = left;
	row->edited = work->revision;
	return store_update(work, REGISTRY_TENANT, row);
}

static int unbind_cluster(struct removal *removal, uint64_t cluster)
{
	size_t bound = removal->count;
	int r = add_all(removal, REGISTRY_TENANT,
			"SELECT t.id FROM tenants t, json_each(t.clusters) c WHERE c.value = ?1",
			cluster, true);

	for (size_t i = bound; i < removal->count && r == 0; ++i)
		r = unbind_from(removal->work, removal->victims[i].id, cluster);
	return r;
}

// Of a tenant or cluster that has very many, some stay for delete_continue(): no request reaches
// them any more, and one transaction must not stop the portal for minutes.
static bool may_wait(enum registry_kind whole, enum registry_kind part, size_t done)
{
	return done >= AT_ONCE_MAX && (whole == REGISTRY_TENANT || whole == REGISTRY_CLUSTER) &&
	       (part == REGISTRY_TOPIC || part == REGISTRY_GROUP);
}

static int remove_all(struct removal *removal, enum registry_kind kind, struct row *row)
{
	struct work *work = removal->work;
	struct row victim;
	int r = 0;

	for (size_t i = 0; i < removal->count && r == 0; ++i) {
		if (may_wait(kind, removal->victims[i].kind, i))
			continue;
		r = store_load(work, removal->victims[i].kind, removal->victims[i].id, &victim);
		if (r == 1)
			r = remove_row(work, removal->victims[i].kind, &victim);
	}
	if (r == 0)
		r = remove_row(work, kind, row);
	if (r == 0 && kind == REGISTRY_CLUSTER)
		r = unbind_cluster(removal, row->object.id);
	if (r == 0 && (kind == REGISTRY_TENANT || kind == REGISTRY_CLUSTER))
		r = lifecycle_finish(work);
	return r;
}

static int remove_left(struct work *work)
{
	static const struct {
		enum registry_kind kind;
		const char *sql;
	} left[] = {
		{REGISTRY_GROUP, "SELECT g.id FROM tenants t JOIN \"groups\" g ON g.tenant = t.id"
				 " WHERE t.deleting = 1 AND g.state != 2 LIMIT ?1"},
		{REGISTRY_GROUP, "SELECT g.id FROM clusters c JOIN topics t ON t.cluster = c.id"
				 " JOIN \"groups\" g ON g.topic = t.id"
				 " WHERE c.deleting = 1 AND g.state != 2 LIMIT ?1"},
		{REGISTRY_TOPIC, "SELECT o.id FROM tenants t JOIN topics o ON o.tenant = t.id"
				 " WHERE t.deleting = 1 AND o.state != 2 LIMIT ?1"},
		{REGISTRY_TOPIC, "SELECT o.id FROM clusters c JOIN topics o ON o.cluster = c.id"
				 " WHERE c.deleting = 1 AND o.state != 2 LIMIT ?1"},
	};
	struct removal removal = {.work = work};
	struct row victim;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(left) && r == 0; ++i)
		r = add_all(&removal, left[i].kind, left[i].sql, AT_ONCE_MAX, false);
	for (size_t i = 0; i < removal.count && r == 0; ++i) {
		r = store_load(work, removal.victims[i].kind, removal.victims[i].id, &victim);
		if (r == 1)
			r = remove_row(work, removal.victims[i].kind, &victim);
	}
	free(removal.victims);
	return r;
}

int delete_continue(struct registry *registry)
{
	static const struct registry_actor system_actor = {.name = "system"};
	struct registry_result result = {0};
	struct work work;
	int64_t waiting = 0;
	int r = db_number(&registry->db, &waiting,
			  "SELECT EXISTS (SELECT 1 FROM tenants WHERE deleting = 1)"
			  " OR EXISTS (SELECT 1 FROM clusters WHERE deleting = 1)",
			  "");

	if (r < 0 || !waiting)
		return MIN(r, 0);
	r = work_begin(&work, registry, &system_actor, &result);
	if (r == 0)
		r = remove_left(&work);
	r = work_end(&work, r);
	registry_result_deinit(&result);
	return r;
}

static int refuse_special(struct work *work, enum registry_kind kind, const struct row *row)
{
	if (kind == REGISTRY_USER)
		return constraints_keep_an_admin(work, row);
	if (kind == REGISTRY_TOPIC && row->model.topic.dead_letter_of)
		return work_refuse(work, CODE_CONFLICT,
				   "the topic holds the dead letters of a group and goes with it");
	return 0;
}

static int preview_removal(struct removal *removal, enum registry_kind kind, const struct row *row)
{
	struct registry_result *ret = removal->work->ret;
	int r = list_affected(removal, kind, row);

	if (r == 0)
		ret->body = json_pack("{s:b, s:O}", "in_use", needs_force(removal), "affected",
				      ret->affected);
	return r;
}

static int remove_or_refuse(struct removal *removal, const struct registry_ref *ref,
			    struct row *row, const struct registry_delete *how)
{
	int r = refuse_special(removal->work, ref->kind, row);

	if (r == 0)
		r = find_victims(removal, ref->kind, row);
	if (r != 0)
		return r;
	if (how->preview)
		return preview_removal(removal, ref->kind, row);
	if (!needs_force(removal) || how->force)
		return remove_all(removal, ref->kind, row);
	r = list_affected(removal, ref->kind, row);
	return r < 0 ? r
		     : work_refuse(removal->work, CODE_IN_USE,
				   "%zu other resources would go with it; force deletes them too",
				   removal->count);
}

int registry_delete(struct registry *registry, const struct registry_actor *actor,
		    const struct registry_ref *ref, const struct registry_delete *how,
		    struct registry_result *ret)
{
	struct work work;
	struct removal removal = {.work = &work};
	struct row row;
	int r = work_begin(&work, registry, actor, ret);

	if (r == 0)
		r = store_resolve(&work, ref, &row);
	if (r == 0)
		r = resource_match(&work, &row, how->match);
	if (r == 0 && !is_deleting(ref->kind, &row))
		r = remove_or_refuse(&removal, ref, &row, how);
	else if (r == 0 && how->preview)
		r = preview_removal(&removal, ref->kind, &row);
	free(removal.victims);
	return work_end(&work, r);
}
