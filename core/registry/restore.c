// Merges a copy of the registry with the last known state.
//
// A copy is older than what it replaces. Three things must not go back with it: ids (a store keeps
// messages under them), what was revoked, and the audit log. So counters continue above both
// states, access keys, users and tokens keep their last known rights, and the log continues with
// the known entries. Topics and groups are compared by id: one that only one side has is never
// `ready`.
//
// Everything happens in one transaction on the copy; the caller puts it in its place or drops it.
// What is not known is listed, not guessed, and a credential without a known state gives no access.
// Names and settings are the copy's throughout.

#include "core/registry/restore.h"

#include "core/registry/audit.h"
#include "core/registry/checksum.h"
#include "core/registry/operator_access.h"
#include "core/registry/orphans.h"
#include "core/registry/registry.h"
#include "core/registry/resource_state.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdio.h>

#define LISTED_MAX 1000 // of each list, in the answer and in the audit log

struct merge {
	const struct restore *how;
	struct work work;  // on the copy
	struct work known; // only reads
	struct registry_result ignored;
	json_t *revoked, *topics, *unknown;
	uint64_t first_admin; // of the copy; 0: it has none that is enabled
};

// ---- rows of either side

struct ids {
	uint64_t *at;
	size_t count, capacity;
};

static int ids_add(struct ids *ids, uint64_t id)
{
	if (ids->count == ids->capacity) {
		size_t capacity = MAX(ids->capacity * 2, 64u);
		uint64_t *grown = realloc(ids->at, capacity * sizeof *grown);

		if (!grown)
			return -ENOMEM;
		ids->at = grown;
		ids->capacity = capacity;
	}
	ids->at[ids->count++] = id;
	return 0;
}

static int ids_read(struct db *db, const char *sql, uint64_t argument, struct ids *ret)
{
	sqlite3_stmt *statement;
	int r = db_query(db, &statement, sql, "i", (int64_t)argument);

	while (r == 0 && (r = db_step(db, statement)) == 1) {
		r = ids_add(ret, (uint64_t)sqlite3_column_int64(statement, 0));
		if (r < 0)
			sqlite3_reset(statement);
	}
	return r;
}

static int ids_of_kind(struct db *db, enum registry_kind kind, struct ids *ret)
{
	char sql[96];

	snprintf(sql, sizeof sql, "SELECT id FROM \"%s\" WHERE id > ?1 ORDER BY id",
		 row_kind(kind).table);
	return ids_read(db, sql, 0, ret);
}

// Calls fn for each row that `side` has, with memory for that row alone.
static int each_row(struct merge *merge, struct work *side, enum registry_kind kind,
		    int (*fn)(struct merge *merge, enum registry_kind kind, struct row *row))
{
	struct ids ids = {0};
	struct row row;
	int r = ids_of_kind(&side->registry->db, kind, &ids);

	for (size_t i = 0; i < ids.count && r == 0; ++i) {
		r = store_load(side, kind, ids.at[i], &row);
		if (r == 1)
			r = fn(merge, kind, &row);
		arena_deinit(&merge->work.arena);
		arena_deinit(&merge->known.arena);
	}
	free(ids.at);
	return r;
}

static bool knows_kind(const struct merge *merge, enum registry_kind kind)
{
	return merge->how->known && (!merge->how->partial || kind < REGISTRY_USER);
}

// 1: the other side has the same object; 0: it has not.
static int find_same(struct work *side, enum registry_kind kind, const struct row *row,
		     struct row *ret)
{
	int r = store_load(side, kind, row->object.id, ret);

	if (r != 1)
		return r;
	if (kind == REGISTRY_TOPIC)
		return ret->model.topic.tenant == row->model.topic.tenant &&
		       ret->model.topic.cluster == row->model.topic.cluster &&
		       strcmp(ret->model.topic.physical, row->model.topic.physical) == 0;
	if (kind == REGISTRY_GROUP)
		return ret->model.group.tenant == row->model.group.tenant &&
		       ret->model.group.topic == row->model.group.topic;
	return row_tenant(kind, ret) == row_tenant(kind, row) &&
	       strcmp(row_name(ret), row_name(row)) == 0;
}

static int list_row(struct merge *merge, json_t *rows, enum registry_kind kind,
		    const struct row *row, const char *member, const char *text)
{
	const char *tenant = kind == REGISTRY_TENANT || kind == REGISTRY_CLUSTER
				     ? NULL
				     : store_tenant_name(&merge->work, row_tenant(kind, row));

	if (json_array_size(rows) >= LISTED_MAX)
		return 0;
	return json_array_append_new(rows, json_pack("{s:s, s:s?, s:s, s:s}", "kind",
						     row_kind(kind).name, "tenant", tenant, "name",
						     row_name(row), member, text)) < 0
		       ? -ENOMEM
		       : 0;
}

// ---- access keys, users, tokens

// Gives the row the rights it was last known with.
static void rights_take(enum registry_kind kind, struct row *row, const struct row *known)
{
	struct access_key *key = &row->model.key;

	switch (kind) {
	case REGISTRY_ACCESS_KEY:
		key->disabled = known->model.key.disabled;
		key->expires_ms = known->model.key.expires_ms;
		key->grants = known->model.key.grants;
		key->grant_count = known->model.key.grant_count;
		key->allow = known->model.key.allow;
		key->allow_count = known->model.key.allow_count;
		key->deny = known->model.key.deny;
		key->deny_count = known->model.key.deny_count;
		break;
	case REGISTRY_USER:
		row->user.password = known->user.password;
		row->user.role = known->user.role;
		row->user.disabled = known->user.disabled;
		break;
	case REGISTRY_PROXY: {
		struct proxy_row *proxy = &row->proxy;

		proxy->expires_ms = known->proxy.expires_ms;
		proxy->joined_ms = known->proxy.joined_ms;
		memcpy(proxy->hash, known->proxy.hash, sizeof proxy->hash);
		memcpy(proxy->key, known->proxy.key, sizeof proxy->key);
		break;
	}
	default:
		row->token.role = known->token.role;
		row->token.expires_ms = known->token.expires_ms;
	}
}

static bool is_disabled(enum registry_kind kind, const struct row *row)
{
	return kind == REGISTRY_ACCESS_KEY ? row->model.key.disabled
	       : kind == REGISTRY_USER     ? row->user.disabled
					   : false;
}

static int credential_changed(struct merge *merge, enum registry_kind kind, struct row *row,
			      const struct row *known)
{
	uint32_t before = checksum_row(kind, row);
	bool disabled = is_disabled(kind, known) && !is_disabled(kind, row);
	int r;

	rights_take(kind, row, known);
	if (checksum_row(kind, row) == before)
		return 0;
	r = list_row(merge, merge->revoked, kind, row, "since", disabled ? "disabled" : "changed");
	if (r < 0 || merge->how->revive)
		return r;
	row->edited = merge->work.revision;
	return store_update(&merge->work, kind, row);
}

static void credential_close(enum registry_kind kind, struct row *row, int64_t now_ms)
{
	int64_t *expires_ms =
		kind == REGISTRY_PROXY ? &row->proxy.expires_ms : &row->token.expires_ms;

	if (kind == REGISTRY_PROXY) // it must be invited anew
		memset(row->proxy.key, 0, sizeof row->proxy.key);
	if (kind == REGISTRY_ACCESS_KEY)
		row->model.key.disabled = true;
	else if (kind == REGISTRY_USER)
		row->user.disabled = true;
	else if (*expires_ms == 0 || *expires_ms > now_ms)
		*expires_ms = now_ms;
}

// It may have been revoked since: it opens nothing until an administrator enables it. The first
// administrator stays enabled, because otherwise there would be none to do that.
static int credential_unknown(struct merge *merge, enum registry_kind kind, struct row *row)
{
	bool first = kind == REGISTRY_USER && row->object.id == merge->first_admin;
	bool stays = first || merge->how->revive;
	int r = list_row(
		merge, merge->unknown, kind, row, "reason",
		merge->how->revive       ? "whether it was revoked is not known: as in the copy"
		: first                  ? "whether it was revoked is not known: it stays, so "
					   "that an administrator can log in"
		: kind == REGISTRY_PROXY ? "whether it was removed is not known: it is shut out"
		: kind == REGISTRY_TOKEN ? "whether it was revoked is not known: it is expired"
					 : "whether it was revoked is not known: it is "
					   "disabled");

	if (r < 0 || stays)
		return r;
	credential_close(kind, row, merge->work.registry->now_ms());
	row->edited = merge->work.revision;
	return store_update(&merge->work, kind, row);
}

static int credential_merge(struct merge *merge, enum registry_kind kind, struct row *row)
{
	struct row known;
	int r;

	if (!knows_kind(merge, kind))
		return credential_unknown(merge, kind, row);
	r = find_same(&merge->known, kind, row, &known);
	if (r < 0)
		return r;
	if (r == 1)
		return credential_changed(merge, kind, row, &known);
	r = list_row(merge, merge->revoked, kind, row, "since", "deleted");
	return r < 0 || merge->how->revive ? r : store_drop(&merge->work, kind, row->object.id);
}

// What the tenant allows the platform is a right too.
static int access_merge(struct merge *merge, enum registry_kind kind, struct row *row)
{
	bool withdrawn;
	bool known = knows_kind(merge, REGISTRY_USER);
	int r = operator_access_restore(&merge->work, known ? &merge->known : NULL, row->object.id,
					merge->how->revive, &withdrawn);

	if (r < 0 || !withdrawn)
		return r;
	return json_array_append_new(merge->revoked,
				     json_pack("{s:s, s:s, s:s, s:s}", "kind", "operator_access",
					       "tenant", row_name(row), "name", row_name(row),
					       "since", known ? "withdrawn" : "unknown")) < 0
		       ? -ENOMEM
		       : 0;
}

static int count_admins(struct merge *merge, int64_t *ret)
{
	int r = db_number(&merge->work.registry->db, ret,
			  "SELECT count(*) FROM users WHERE role = 0 AND disabled = 0", "");

	return MIN(r, 0);
}

static int credentials_merge(struct merge *merge)
{
	int64_t before = 0, after = 0, first = 0;
	int r = count_admins(merge, &before);

	if (r == 0 && before)
		r = MIN(db_number(&merge->work.registry->db, &first,
				  "SELECT min(id) FROM users WHERE role = 0 AND disabled = 0", ""),
			0);
	merge->first_admin = (uint64_t)first;

	for (enum registry_kind kind = 0; kind < REGISTRY_KIND_COUNT && r == 0; ++kind)
		if (kind == REGISTRY_ACCESS_KEY || kind >= REGISTRY_USER)
			r = each_row(merge, &merge->work, kind, credential_merge);
	if (r == 0)
		r = each_row(merge, &merge->work, REGISTRY_TENANT, access_merge);
	if (r == 0)
		r = count_admins(merge, &after);
	if (r == 0 && before && !after)
		r = work_refuse(&merge->work, CODE_CONFLICT,
				"every user with role \"admin\" of the backup has been deleted or "
				"disabled since: none would be left; revive brings them back");
	return r;
}

// ---- topics and groups of the copy

static const char deleted_since[] =
	"it was deleted after the backup, with its messages: PUT makes it anew and empty, DELETE "
	"removes it";
static const char made_since[] = "it was made after the backup, and its cluster still has it: PUT "
				 "takes it up again, DELETE removes it with its messages";
static const char not_known[] = "whether its cluster still has it is being asked after a restore";

// The copy is what is there, not what was: each of its rows begins anew.
static void state_set(enum registry_kind kind, struct row *row, enum model_state state,
		      const char *reason)
{
	resource_state_begin(kind, row, state);
	row->state_reason = reason;
}

// What is on the cluster is as it was last known; what is wanted of it is as in the copy.
static void topic_take(struct merge *merge, struct row *row, const struct row *known)
{
	const struct topic *was = &known->model.topic;
	struct topic *topic = &row->model.topic;
	bool differs = topic->retention_ms != was->retention_ms ||
		       topic->retention_bytes != was->retention_bytes ||
		       topic->message_bytes != was->message_bytes;

	topic->incarnation = was->incarnation;
	topic->partitions = was->partitions;
	row->growing_to = known->growing_to;
	row->unsettled = differs && !topic->imported ? merge->work.revision : known->unsettled;
}

static int part_known(struct merge *merge, enum registry_kind kind, struct row *row,
		      const struct row *known)
{
	uint32_t before = checksum_row(kind, row);

	if (kind == REGISTRY_TOPIC)
		topic_take(merge, row, known);
	else
		row->model.group.incarnation = known->model.group.incarnation;
	state_set(kind, row, resource_state_get(kind, known), known->state_reason);
	row->unverified = known->unverified;
	return checksum_row(kind, row) == before ? 0 : store_update(&merge->work, kind, row);
}

// Positions begin anew with it, so nothing that was answered for the deleted one may fit.
static void part_renew(struct merge *merge, enum registry_kind kind, struct row *row)
{
	uint64_t incarnation = store_new_id(&merge->work);

	if (kind == REGISTRY_TOPIC) {
		row->model.topic.incarnation = incarnation;
		row->growing_to = 0;
		row->unsettled = 0;
	} else {
		row->model.group.incarnation = incarnation;
	}
}

static int part_merge(struct merge *merge, enum registry_kind kind, struct row *row)
{
	struct row known;
	int r;

	if (!merge->how->known) {
		state_set(kind, row, MODEL_CREATING, not_known);
		row->unverified = true;
		r = list_row(merge, merge->unknown, kind, row, "reason", not_known);
		return r < 0 ? r : store_update(&merge->work, kind, row);
	}
	r = find_same(&merge->known, kind, row, &known);
	if (r < 0)
		return r;
	if (r == 1)
		return part_known(merge, kind, row, &known);
	part_renew(merge, kind, row);
	state_set(kind, row, MODEL_FAILED, deleted_since);
	r = list_row(merge, merge->topics, kind, row, "reason", deleted_since);
	return r < 0 ? r : store_update(&merge->work, kind, row);
}

// ---- what is only known: it stays on its cluster, so it stays here

static int drop_all(struct merge *merge, enum registry_kind kind, const char *sql,
		    uint64_t argument)
{
	struct ids ids = {0};
	int r = ids_read(&merge->work.registry->db, sql, argument, &ids);

	for (size_t i = 0; i < ids.count && r == 0; ++i)
		r = store_drop(&merge->work, kind, ids.at[i]);
	free(ids.at);
	return r;
}

// A deleted topic of the copy gives its name to the one that took it since.
static int topic_drop(struct merge *merge, const struct row *row)
{
	uint64_t id = row->object.id;
	int r = list_row(merge, merge->topics, REGISTRY_TOPIC, row, "reason",
			 "it was deleted after the backup, and another has its name: left out");

	if (r == 0)
		r = drop_all(merge, REGISTRY_GROUP, "SELECT id FROM \"groups\" WHERE topic = ?1",
			     id);
	return r < 0 ? r : store_drop(&merge->work, REGISTRY_TOPIC, id);
}

static int name_free(struct merge *merge, enum registry_kind kind, const struct row *row)
{
	struct row other;
	int r = store_find(&merge->work, kind, row_tenant(kind, row), row_name(row), &other);

	if (r != 1)
		return r;
	return kind == REGISTRY_TOPIC ? topic_drop(merge, &other)
				      : store_drop(&merge->work, kind, other.object.id);
}

// An imported one that was let go and imported again.
static int physical_free(struct merge *merge, const struct row *row)
{
	struct row other;
	int64_t id;
	int r = db_number(&merge->work.registry->db, &id,
			  "SELECT id FROM topics WHERE cluster = ?1 AND physical = ?2", "it",
			  (int64_t)row->model.topic.cluster, row->model.topic.physical);

	if (r == 1)
		r = store_load(&merge->work, REGISTRY_TOPIC, (uint64_t)id, &other);
	return r == 1 ? topic_drop(merge, &other) : r;
}

static int row_exists(struct merge *merge, enum registry_kind kind, uint64_t id)
{
	struct row row;

	return store_load(&merge->work, kind, id, &row);
}

static int references_keep(struct merge *merge, enum registry_kind kind, struct row *row)
{
	struct tenant *tenant = &row->model.tenant;
	size_t left = 0;
	int r = 0;

	if (kind == REGISTRY_CLUSTER) {
		if (row->model.cluster.exclusive_tenant)
			r = row_exists(merge, REGISTRY_TENANT, row->model.cluster.exclusive_tenant);
		if (r == 0)
			row->model.cluster.exclusive_tenant = 0;
		return MIN(r, 0);
	}
	for (size_t i = 0; i < tenant->cluster_count; ++i) {
		uint64_t *clusters = (uint64_t *)(uintptr_t)tenant->clusters;

		r = row_exists(merge, REGISTRY_CLUSTER, clusters[i]);
		if (r < 0)
			return r;
		if (r == 1)
			clusters[left++] = clusters[i];
	}
	tenant->cluster_count = left;
	return 0;
}

// The tenant or cluster that such a topic needs. A tenant is suspended: its return was not asked
// for.
static int owner_keep(struct merge *merge, enum registry_kind kind, uint64_t id)
{
	char name[40];
	struct row row, other;
	int r = row_exists(merge, kind, id);

	if (r != 0)
		return MIN(r, 0);
	r = store_load(&merge->known, kind, id, &row);
	if (r == 1)
		r = references_keep(merge, kind, &row);
	if (r == 0)
		r = store_find(&merge->work, kind, 0, row_name(&row), &other);
	if (r < 0)
		return r;
	snprintf(name, sizeof name, "restored-%llu", (unsigned long long)id);
	if (r == 1)
		row.model.tenant.name = name; // the same place in every kind
	if (kind == REGISTRY_TENANT)
		row.model.tenant.suspended = true;
	r = list_row(merge, merge->topics, kind, &row, "reason",
		     kind == REGISTRY_TENANT
			     ? "it was made after the backup and has topics: kept, suspended"
			     : "it was made after the backup and has topics: kept");
	return r < 0 ? r : store_insert(&merge->work, kind, &row);
}

static int topic_keep(struct merge *merge, const struct row *row)
{
	int r = owner_keep(merge, REGISTRY_CLUSTER, row->model.topic.cluster);

	if (r == 0)
		r = owner_keep(merge, REGISTRY_TENANT, row->model.topic.tenant);
	return r < 0 ? r : physical_free(merge, row);
}

static int part_keep(struct merge *merge, enum registry_kind kind, struct row *row)
{
	int r = row_exists(merge, kind, row->object.id);

	if (r != 0)
		return MIN(r, 0);
	if (kind == REGISTRY_TOPIC)
		r = topic_keep(merge, row);
	if (r == 0)
		r = name_free(merge, kind, row);
	if (r < 0)
		return r;
	if (resource_state_get(kind, row) != MODEL_DELETING) {
		state_set(kind, row, MODEL_FAILED, made_since);
		row->growing_to = 0;
		r = list_row(merge, merge->topics, kind, row, "reason", made_since);
	}
	return r < 0 ? r : store_insert(&merge->work, kind, row);
}

static int topics_merge(struct merge *merge)
{
	int r = 0;

	for (enum registry_kind kind = REGISTRY_TOPIC; kind <= REGISTRY_GROUP && r == 0; ++kind)
		r = each_row(merge, &merge->work, kind, part_merge);
	for (enum registry_kind kind = REGISTRY_TOPIC;
	     kind <= REGISTRY_GROUP && r == 0 && merge->how->known; ++kind)
		r = each_row(merge, &merge->known, kind, part_keep);
	return r;
}

// ---- totals and the audit log

static int value_copy(sqlite3_stmt *to, sqlite3_stmt *from, int columns)
{
	int code = SQLITE_OK;

	for (int i = 0; i < columns && code == SQLITE_OK; ++i)
		code = sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
	return db_error(code);
}

static int rows_copy(struct merge *merge, const char *select, const char *insert, int columns)
{
	struct db *to = &merge->work.registry->db, *from = &merge->how->known->db;
	sqlite3_stmt *source, *target;
	int r = db_query(from, &source, select, "");

	while (r == 0 && (r = db_step(from, source)) == 1) {
		r = db_query(to, &target, insert, "");
		if (r == 0)
			r = value_copy(target, source, columns);
		if (r == 0)
			r = db_step(to, target);
		if (r < 0)
			sqlite3_reset(source);
	}
	return r;
}

static int history_keep(struct merge *merge)
{
	int r = db_script(&merge->work.registry->db, "DELETE FROM audit");

	if (r == 0)
		r = rows_copy(merge, "SELECT * FROM audit ORDER BY seq",
			      "INSERT INTO audit VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)", 11);
	if (r == 0)
		r = rows_copy(merge, "SELECT * FROM totals",
			      "INSERT OR REPLACE INTO totals VALUES(?1,?2,?3,?4)", 4);
	merge->work.audit = merge->how->known->head;
	return r;
}

static json_t *end_json(const struct head *end)
{
	char hash[REGISTRY_HASH_TEXT];

	audit_hash_text(end->audit_hash, hash);
	return json_pack("{s:I, s:s}", "entries", (json_int_t)end->audit_seq, "head", hash);
}

// The entry says where the copy's own log ended, and whether entries are lost.
static int history_note(struct merge *merge, const struct head *copied)
{
	const struct head *ended = merge->how->ended;
	bool lost = ended && ended->audit_seq > merge->work.audit.audit_seq;
	json_t *details = json_pack("{s:b, s:O, s:O, s:O, s:o, s:o}", "revive", merge->how->revive,
				    "revoked", merge->revoked, "topics", merge->topics, "unknown",
				    merge->unknown, "backup", end_json(copied), "lost_after",
				    lost ? end_json(ended) : json_null());
	int r = details ? audit_write(&merge->work, "restore", "registry", merge->how->path, NULL,
				      NULL, details)
			: -ENOMEM;

	json_decref(details);
	return r;
}

// ---- all of it

static int orphan_list(void *ctx, enum registry_kind kind, const struct row *row,
		       const char *reason)
{
	struct merge *merge = ctx;

	return list_row(merge, merge->topics, kind, row, "reason", reason);
}

static int merge_all(struct merge *merge)
{
	const struct restore *how = merge->how;
	struct registry *copy = how->copy;
	const struct head copied = copy->head;
	int r = db_script(&copy->db, "DELETE FROM sessions; DELETE FROM gone;"
				     "DELETE FROM meta WHERE name IN ('digest', 'bootstrap')");

	merge->work.changed = true;
	merge->work.next_id = MAX(merge->work.next_id, how->least_id);
	if (how->known) {
		merge->work.revision = MAX(merge->work.revision, how->known->head.revision + 1);
		merge->work.next_id = MAX(merge->work.next_id, how->known->head.next_id);
	}
	if (r == 0 && how->known && !how->partial)
		r = history_keep(merge);
	if (r == 0)
		r = credentials_merge(merge);
	if (r == 0)
		r = topics_merge(merge);
	if (r == 0 && how->found)
		r = orphans_merge(&merge->work, how->found, orphan_list, merge);
	if (r == 0)
		r = history_note(merge, &copied);
	if (r == 0)
		r = head_draw(&copy->head.source);
	copy->head.installation = how->installation;
	return r;
}

static int refuse_foreign(struct merge *merge)
{
	const struct head *head = &merge->how->copy->head;

	if (head->installation == merge->how->installation)
		return 0;
	return work_refuse(
		&merge->work, CODE_CONFLICT,
		"it belongs to another installation (%016llx, this one is %016llx): its ids "
		"would name what is stored here under others",
		(unsigned long long)head->installation,
		(unsigned long long)merge->how->installation);
}

int restore_merge(const struct restore *restore, const struct registry_actor *actor,
		  struct registry_result *ret)
{
	struct merge merge = {.how = restore,
			      .revoked = json_array(),
			      .topics = json_array(),
			      .unknown = json_array()};
	int r = work_begin(&merge.work, restore->copy, actor, ret);

	if (restore->known)
		work_open(&merge.known, restore->known, &merge.ignored);
	if (r == 0)
		r = refuse_foreign(&merge);
	if (r == 0)
		r = merge_all(&merge);
	if (r == 0) {
		ret->body = json_pack("{s:b, s:b, s:O, s:O, s:O}", "preview", restore->preview,
				      "revive", restore->revive, "revoked", merge.revoked, "topics",
				      merge.topics, "unknown", merge.unknown);
		if (restore->preview)
			r = 1; // rolled back; the result stays OK
	}
	json_decref(merge.revoked);
	json_decref(merge.topics);
	json_decref(merge.unknown);
	arena_deinit(&merge.known.arena);
	registry_result_deinit(&merge.ignored);
	return work_end(&merge.work, r);
}
