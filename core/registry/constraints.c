// Checks what each kind demands beyond the ranges of its fields (references that must fit together,
// limits of the tenant), and makes names and secrets.
//
// A problem of one member goes to the reader's errors, so that a caller sees all of them at once; a
// refusal of the whole (a limit, a conflict) ends the work. The backend of a topic or group checks
// last (constraints_validate), when everything else is known to be right.

#include "core/registry/constraints.h"

#include "core/base/base64url.h"
#include "core/model/name.h"
#include "core/registry/audit.h"
#include "core/registry/permission.h"
#include "core/registry/registry.h"
#include "core/registry/resource_state.h"
#include "core/registry/secret.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdio.h>

#define KEYS_MAX     1000 // access keys of a tenant
#define DEAD_SUFFIX  ".dead"
#define DEAD_KEEP_MS (30ull * 24 * 3600 * 1000)
#define DEAD_SLACK   65536 // a dead letter is a little larger than its message
#define RECORD_MAX   (16u << 20)
#define TOKEN_PREFIX "mqt_"
#define TOKEN_BYTES  32

#define PROXY_TOKEN_PREFIX "mqj_"
#define INVITATION_MS      (3600 * 1000ll)
#define INVITATION_MOST_MS (30 * 24 * INVITATION_MS)
#define AFFECTED_LISTED    100

static int count_of(struct work *work, const char *sql, uint64_t id, int64_t *ret)
{
	int r = db_number(&work->registry->db, ret, sql, "i", (int64_t)id);

	return r < 0 ? r : 0;
}

static int within_limit(struct work *work, const char *sql, uint32_t limit, const char *what)
{
	int64_t count = 0;
	int r;

	if (limit == UINT32_MAX)
		return 0;
	r = count_of(work, sql, work->tenant->object.id, &count);
	if (r == 0 && count >= limit)
		return work_refuse(work, CODE_LIMIT_EXCEEDED,
				   "the tenant has %lld %s and may have %u", (long long)count, what,
				   limit);
	return r;
}

static bool tenant_has_cluster(const struct tenant *tenant, uint64_t cluster)
{
	for (size_t i = 0; i < tenant->cluster_count; ++i)
		if (tenant->clusters[i] == cluster)
			return true;
	return false;
}

// ---- tenants and clusters

static int exclusive_to_another(struct work *work, const struct row *row,
				struct json_reader *reader)
{
	const struct tenant *tenant = &row->model.tenant;
	struct row cluster;

	for (size_t i = 0; i < tenant->cluster_count; ++i) {
		int r = store_load(work, REGISTRY_CLUSTER, tenant->clusters[i], &cluster);

		if (r < 0)
			return r;
		if (r == 1 && cluster.model.cluster.exclusive_tenant &&
		    cluster.model.cluster.exclusive_tenant != row->object.id)
			json_problem(reader, "/clusters",
				     "cluster \"%s\" is exclusive to another tenant",
				     row_name(&cluster));
	}
	return 0;
}

static int topics_would_be_stranded(struct work *work, const struct row *row, const struct row *old)
{
	const struct tenant *before = &old->model.tenant;
	int64_t count;

	for (size_t i = 0; i < before->cluster_count; ++i) {
		int r;

		if (tenant_has_cluster(&row->model.tenant, before->clusters[i]))
			continue;
		r = db_number(&work->registry->db, &count,
			      "SELECT count(*) FROM topics WHERE tenant = ?1 AND cluster = ?2",
			      "ii", (int64_t)row->object.id, (int64_t)before->clusters[i]);
		if (r < 0)
			return r;
		if (count)
			return work_refuse(work, CODE_IN_USE,
					   "the tenant has %lld topics on a cluster that would no "
					   "longer be its own",
					   (long long)count);
	}
	return 0;
}

static int tenant_check(struct work *work, struct row *row, const struct row *old,
			struct json_reader *reader)
{
	int r = exclusive_to_another(work, row, reader);

	return r == 0 && old ? topics_would_be_stranded(work, row, old) : r;
}

// Every other tenant that is bound to the cluster.
static int bound_tenants(struct work *work, const struct row *row)
{
	static const char sql[] =
		"SELECT t.id, t.name FROM tenants t, json_each(t.clusters) c WHERE c.value = ?1"
		" AND t.id != ?2 ORDER BY t.name LIMIT ?3";
	struct db *db = &work->registry->db;
	sqlite3_stmt *statement;
	int r = db_query(db, &statement, sql, "iii", (int64_t)row->object.id,
			 (int64_t)row->model.cluster.exclusive_tenant, (int64_t)AFFECTED_LISTED);

	while (r == 0 && (r = db_step(db, statement)) == 1) {
		work_affect(work, REGISTRY_TENANT, NULL,
			    (const char *)sqlite3_column_text(statement, 1));
		r = 0;
	}
	return r;
}

static int cluster_check(struct work *work, struct row *row, const struct row *old)
{
	int r;

	if (!old || !row->model.cluster.exclusive_tenant)
		return 0;
	r = bound_tenants(work, row);
	if (r == 0 && work->ret->affected)
		return work_refuse(work, CODE_IN_USE, "other tenants use the cluster");
	return r;
}

// ---- access keys

static int key_check(struct work *work, struct row *row, const struct row *old)
{
	char *secret;
	int r;

	if (old)
		return 0;
	row->model.key.tenant = work->tenant->object.id;
	r = within_limit(work, "SELECT count(*) FROM access_keys WHERE tenant = ?1", KEYS_MAX,
			 "access keys");
	if (r != 0)
		return r;
	r = secret_key_make(&row->model.key, &work->arena, &secret);
	work->secret = secret;
	if (!row->family)
		row->family = row->object.id;
	return r;
}

// ---- topics

static int topic_place(struct work *work, struct topic *topic, struct json_reader *reader)
{
	const struct tenant *tenant = &work->tenant->model.tenant;

	if (!topic->cluster && !tenant->cluster_count)
		return work_refuse(work, CODE_CONFLICT,
				   "the tenant has no cluster to put a topic on; an operator binds "
				   "one");
	if (!topic->cluster)
		topic->cluster = tenant->clusters[0];
	if (!tenant_has_cluster(tenant, topic->cluster))
		json_problem(reader, "/cluster", "is not one of the tenant's clusters");
	return 0;
}

static int topic_best(struct work *work, struct topic *topic)
{
	const struct registry *registry = work->registry;
	struct row cluster;
	int r = registry->durability ? store_load(work, REGISTRY_CLUSTER, topic->cluster, &cluster)
				     : 0;

	if (r < 0)
		return r;
	topic->durability = r == 1 ? (uint8_t)registry->durability(registry->validate_ctx, topic,
								   &cluster.model.cluster)
				   : DURABILITY_D2;
	return 0;
}

// What is imported keeps its name.
static void physical_make(struct work *work, struct row *row, const char **ret)
{
	char *physical =
		work->imported_as ? NULL : arena_alloc(&work->arena, MODEL_PHYSICAL_MAX + 1);

	if (work->imported_as) {
		*ret = arena_text(&work->arena, work->imported_as);
		return;
	}
	if (physical)
		name_physical(row_name(work->tenant), row_name(row), row->object.id,
			      work->registry->head.source, physical);
	*ret = physical;
}

// More partitions are there when the backend has them (lifecycle.c); until then the old ones serve.
static int topic_grow(struct work *work, struct row *row, const struct row *old)
{
	uint32_t wanted = row->model.topic.partitions;

	if (wanted == old->model.topic.partitions || old->model.topic.state == MODEL_FAILED)
		return 0;
	if (old->model.topic.state != MODEL_READY)
		return work_refuse(work, CODE_NOT_READY, "the topic is being made");
	row->growing_to = MAX(wanted, old->growing_to);
	row->state_reason = NULL;
	row->model.topic.partitions = old->model.topic.partitions;
	return 0;
}

// What its backend keeps too is told to it (lifecycle.c). What was imported stays as it was made.
static void topic_change(struct work *work, struct row *row, const struct row *old,
			 struct json_reader *reader)
{
	const struct topic *now = &row->model.topic, *before = &old->model.topic;
	bool ms = now->retention_ms != before->retention_ms,
	     bytes = now->retention_bytes != before->retention_bytes,
	     size = now->message_bytes != before->message_bytes;

	if (now->imported && (ms || bytes || size)) {
		reader->conflict = true;
		json_problem(reader,
			     size ? "/message_bytes"
			     : ms ? "/retention_ms"
				  : "/retention_bytes",
			     "cannot be changed: the topic was imported, so its cluster says how "
			     "long it keeps messages and how large they may be");
	}
	if (now->imported || (!ms && !bytes && !size))
		return;
	row->unsettled = work->revision;
	row->state_reason = NULL;
}

static int topic_check(struct work *work, struct row *row, const struct row *old,
		       struct json_reader *reader)
{
	struct topic *topic = &row->model.topic;
	int r;

	if (old) {
		if (old->model.topic.state == MODEL_DELETING)
			return work_refuse(work, CODE_NOT_READY, "the topic is being deleted");
		if (old->model.topic.state == MODEL_FAILED) {
			resource_state_move(REGISTRY_TOPIC, row, MODEL_CREATING);
			row->state_reason = NULL;
		}
		topic_change(work, row, old, reader);
		return topic_grow(work, row, old);
	}
	topic->tenant = work->tenant->object.id;
	if (topic->replication && topic->min_insync > topic->replication)
		json_problem(reader, "/min_insync", "is more than there are copies (replication)");
	r = topic_place(work, topic, reader);
	if (r == 0 && topic->durability == TOPIC_DURABILITY_BEST)
		r = topic_best(work, topic);
	if (r == 0)
		r = within_limit(
			work,
			"SELECT count(*) FROM topics WHERE tenant = ?1 AND dead_letter_of = 0",
			work->tenant->model.tenant.limits.topics, "topics");
	if (r != 0)
		return r;
	topic->incarnation = row->object.id;
	resource_state_begin(REGISTRY_TOPIC, row, MODEL_CREATING);
	topic->imported = work->imported_as != NULL;
	physical_make(work, row, &topic->physical);
	return topic->physical ? 0 : -ENOMEM;
}

// ---- groups

static int group_on_topic(struct work *work, const struct group *group)
{
	struct row topic;
	int r = store_load(work, REGISTRY_TOPIC, group->topic, &topic);

	if (r < 0)
		return r;
	if (r == 1 && topic.model.topic.state == MODEL_DELETING)
		return work_refuse(work, CODE_NOT_READY, "topic \"%s\" is being deleted",
				   row_name(&topic));
	return 0;
}

// The cluster that a topic or group lies on.
static int cluster_of(struct work *work, enum registry_kind kind, const struct row *row,
		      struct row *ret)
{
	uint64_t cluster = row->model.topic.cluster;
	struct row topic;
	int r = 1;

	if (kind == REGISTRY_GROUP) {
		r = store_load(work, REGISTRY_TOPIC, row->model.group.topic, &topic);
		cluster = topic.model.topic.cluster;
	}
	return r == 1 ? store_load(work, REGISTRY_CLUSTER, cluster, ret) : r;
}

static int group_begin(struct work *work, struct row *row)
{
	const struct registry *registry = work->registry;
	struct row cluster;
	int r = registry->group_start ? cluster_of(work, REGISTRY_GROUP, row, &cluster) : 0;

	if (r < 0)
		return r;
	row->model.group.start = r == 1 ? (uint8_t)registry->group_start(registry->validate_ctx,
									 &cluster.model.cluster)
					: GROUP_START_EARLIEST;
	return 0;
}

static int group_dead_letter(struct work *work, struct row *row, struct json_reader *reader)
{
	char dead[MODEL_NAME_BYTES + sizeof DEAD_SUFFIX];
	const char *problem;
	struct row topic;
	int r;

	if (!row->dead_letter)
		return 0;
	snprintf(dead, sizeof dead, "%s%s", row_name(row), DEAD_SUFFIX);
	if (name_check(dead, &problem) < 0) {
		json_problem(reader, "/name",
			     "is too long for a group with dead letters: \"%s\" must fit into %d "
			     "characters",
			     dead, MODEL_NAME_MAX);
		return 0;
	}
	r = store_find(work, REGISTRY_TOPIC, work->tenant->object.id, dead, &topic);
	if (r == 1)
		return work_refuse(work, CODE_CONFLICT,
				   "a topic \"%s\" is there already: the group's dead letters need "
				   "the name",
				   dead);
	row->model.group.dead_letter = store_new_id(work);
	return r;
}

static int group_make(struct work *work, struct row *row, struct json_reader *reader)
{
	struct group *group = &row->model.group;
	bool timed = group->start == GROUP_START_TIME;
	int r;

	group->tenant = work->tenant->object.id;
	if (timed && group->start_ms < 0)
		json_problem(reader, "/start/time_ms", "is needed with \"from\": \"time\"");
	if (!timed && group->start_ms >= 0)
		json_problem(reader, "/start/time_ms", "goes with \"from\": \"time\" only");
	group->start_ms = MAX(group->start_ms, 0);
	r = within_limit(work, "SELECT count(*) FROM \"groups\" WHERE tenant = ?1",
			 work->tenant->model.tenant.limits.groups, "groups");
	if (r == 0)
		r = group_on_topic(work, group);
	if (r == 0 && group->start == GROUP_START_ANY)
		r = group_begin(work, row);
	if (r == 0)
		r = group_dead_letter(work, row, reader);
	if (r != 0)
		return r;
	group->incarnation = row->object.id;
	resource_state_begin(REGISTRY_GROUP, row, MODEL_CREATING);
	group->imported = work->imported_as != NULL;
	physical_make(work, row, &group->physical);
	return group->physical ? 0 : -ENOMEM;
}

// A group that is tried again is ready only with its dead-letter topic, so that is tried too.
static int dead_letter_retry(struct work *work, const struct group *group)
{
	struct row *row = arena_alloc(&work->arena, sizeof *row);
	int r = row ? 0 : -ENOMEM;

	if (r == 0 && group->dead_letter)
		r = store_load(work, REGISTRY_TOPIC, group->dead_letter, row);
	if (r != 1 || row->model.topic.state != MODEL_FAILED)
		return MIN(r, 0);
	resource_state_move(REGISTRY_TOPIC, row, MODEL_CREATING);
	row->state_reason = NULL;
	row->edited = work->revision;
	return store_update(work, REGISTRY_TOPIC, row);
}

static int group_check(struct work *work, struct row *row, const struct row *old,
		       struct json_reader *reader)
{
	if (!row->dead_letter)
		row->model.group.max_attempts = 0; // there is nowhere to put the message
	if (!old)
		return group_make(work, row, reader);
	if (old->model.group.state == MODEL_DELETING)
		return work_refuse(work, CODE_NOT_READY, "the group is being deleted");
	if (old->model.group.state == MODEL_FAILED) {
		resource_state_move(REGISTRY_GROUP, row, MODEL_CREATING);
		row->state_reason = NULL;
		return dead_letter_retry(work, &row->model.group);
	}
	return 0;
}

static int dead_letter_make(struct work *work, const struct row *group)
{
	struct row source, *row = arena_alloc(&work->arena, sizeof *row);
	struct topic *topic;
	json_t *json;
	char *name;
	int r = row ? store_load(work, REGISTRY_TOPIC, group->model.group.topic, &source) : -ENOMEM;

	if (r < 0)
		return r;
	row_init(REGISTRY_TOPIC, row);
	name = arena_alloc(&work->arena, strlen(row_name(group)) + sizeof DEAD_SUFFIX);
	if (!name)
		return -ENOMEM;
	sprintf(name, "%s%s", row_name(group), DEAD_SUFFIX);
	topic = &row->model.topic;
	topic->object.id = topic->incarnation = group->model.group.dead_letter;
	topic->name = name;
	topic->tenant = group->model.group.tenant;
	topic->cluster = source.model.topic.cluster;
	topic->durability = source.model.topic.durability;
	topic->replication = source.model.topic.replication;
	topic->min_insync = source.model.topic.min_insync;
	topic->retention_ms = DEAD_KEEP_MS;
	topic->message_bytes = MIN(source.model.topic.message_bytes + DEAD_SLACK, RECORD_MAX);
	resource_state_begin(REGISTRY_TOPIC, row, MODEL_CREATING);
	topic->dead_letter_of = group->object.id;
	physical_make(work, row, &topic->physical);
	if (!topic->physical)
		return -ENOMEM;
	r = store_insert(work, REGISTRY_TOPIC, row);
	if (r < 0)
		return r;
	json = store_json(work, REGISTRY_TOPIC, row);
	r = audit_row(work, "create", REGISTRY_TOPIC, row, NULL, json);
	json_decref(json);
	return r;
}

// ---- users and tokens

static void role_check(enum role role, uint64_t tenant, struct json_reader *reader)
{
	if (permission_role_is_tenants(role) && !tenant)
		json_problem(reader, "/tenant", "is needed with role \"%s\"",
			     permission_role_names()[role]);
	if (!permission_role_is_tenants(role) && tenant)
		json_problem(reader, "/tenant", "must be null with role \"%s\"",
			     permission_role_names()[role]);
}

static bool is_admin(const struct row *row)
{
	return row->user.role == ROLE_ADMIN && !row->user.disabled;
}

int constraints_keep_an_admin(struct work *work, const struct row *row)
{
	int64_t others = 0;
	int r;

	if (!is_admin(row))
		return 0;
	r = count_of(work,
		     "SELECT count(*) FROM users WHERE role = 0 AND disabled = 0 AND id != ?1",
		     row->object.id, &others);
	if (r == 0 && others == 0)
		return work_refuse(work, CODE_CONFLICT,
				   "this is the last user with role \"admin\"; make another first");
	return r;
}

static int user_check(struct work *work, struct row *row, const struct row *old,
		      struct json_reader *reader)
{
	bool given = !old || row->user.password != old->user.password;

	role_check((enum role)row->user.role, row->user.tenant, reader);
	if (reader->errors)
		return 0;
	if (old && !is_admin(row)) {
		int r = constraints_keep_an_admin(work, old);

		if (r != 0)
			return r;
	}
	return given ? secret_password_hash(&work->arena, row->user.password, &row->user.password)
		     : 0;
}

// The maker of the token, by id: another user of the same name later is another maker.
static int maker_take(struct work *work, struct row *row)
{
	static const struct {
		const char *prefix;
		enum registry_kind kind;
	} makers[] = {{"user:", REGISTRY_USER}, {"token:", REGISTRY_TOKEN}};
	const char *actor = work->actor->name;
	struct row maker;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(makers) && r == 0; ++i) {
		size_t size = strlen(makers[i].prefix);

		if (strncmp(actor, makers[i].prefix, size) == 0)
			r = store_find(work, makers[i].kind, 0, actor + size, &maker);
	}
	if (r != 1)
		return r;
	row->token.maker = arena_text(&work->arena, actor);
	row->token.maker_id = maker.object.id;
	return row->token.maker ? 0 : -ENOMEM;
}

// Shown once; only its hash stays.
static int draw_token(struct work *work, const char *prefix, uint8_t hash[32])
{
	char *token = arena_alloc(&work->arena, strlen(prefix) + 1 + BASE64URL_SIZE(TOKEN_BYTES));
	int r;

	if (!token)
		return -ENOMEM;
	memcpy(token, prefix, strlen(prefix) + 1);
	r = secret_random_text(token + strlen(prefix), TOKEN_BYTES);
	secret_hash(token, hash);
	work->secret = token;
	return r;
}

static int token_check(struct work *work, struct row *row, struct json_reader *reader)
{
	int r;

	role_check((enum role)row->token.role, row->token.tenant, reader);
	r = draw_token(work, TOKEN_PREFIX, row->token.hash);
	return r < 0 ? r : maker_take(work, row);
}

// An invitation: an hour unless the caller says otherwise, at most a month.
static int proxy_check(struct work *work, struct row *row, const struct row *old,
		       struct json_reader *reader)
{
	int64_t now_ms = work->registry->now_ms();

	if (old)
		return 0;
	if (!row->proxy.expires_ms)
		row->proxy.expires_ms = now_ms + INVITATION_MS;
	if (row->proxy.expires_ms <= now_ms || row->proxy.expires_ms > now_ms + INVITATION_MOST_MS)
		json_problem(reader, "/expires_ms", "from now to 30 days from now");
	return draw_token(work, PROXY_TOKEN_PREFIX, row->proxy.hash);
}

// ---- all

int constraints_check(struct work *work, enum registry_kind kind, struct row *row,
		      const struct row *old, struct json_reader *reader)
{
	switch (kind) {
	case REGISTRY_TENANT: return tenant_check(work, row, old, reader);
	case REGISTRY_CLUSTER: return cluster_check(work, row, old);
	case REGISTRY_ACCESS_KEY: return key_check(work, row, old);
	case REGISTRY_TOPIC: return topic_check(work, row, old, reader);
	case REGISTRY_GROUP: return group_check(work, row, old, reader);
	case REGISTRY_USER: return user_check(work, row, old, reader);
	case REGISTRY_PROXY: return proxy_check(work, row, old, reader);
	default: return token_check(work, row, reader);
	}
}

// "options.bootstrap: missing" is about the member /options/bootstrap.
static void validation_errors(struct work *work, const char *text)
{
	const char *end = strstr(text, ": ");
	char pointer[128] = "/";

	if (!end || (size_t)(end - text) + 2 > sizeof pointer)
		return;
	memcpy(pointer + 1, text, (size_t)(end - text));
	for (char *dot = pointer; (dot = strchr(dot, '.'));)
		*dot = '/';
	json_decref(work->ret->errors);
	work->ret->errors = json_pack("[{s:s, s:s}]", "field", pointer, "detail", end + 2);
}

int constraints_validate(struct work *work, enum registry_kind kind, struct row *row)
{
	struct registry *registry = work->registry;
	_cleanup_(freep) char *text = NULL;
	struct row cluster;
	enum code code;
	int r = 0;

	if (!registry->validate ||
	    (kind != REGISTRY_CLUSTER && kind != REGISTRY_TOPIC && kind != REGISTRY_GROUP))
		return 0;
	if (kind != REGISTRY_CLUSTER) {
		r = cluster_of(work, kind, row, &cluster);
		if (r < 0)
			return r;
	}
	code = registry->validate(registry->validate_ctx, &row->object,
				  r == 1 ? &cluster.model.cluster : NULL, &text);
	if (code == CODE_OK)
		return 0;
	if (code == CODE_BAD_REQUEST && text)
		validation_errors(work, text);
	return work_refuse(work, code, "%s", text ? text : code_sentence(code));
}

int constraints_complete(struct work *work, enum registry_kind kind, const struct row *row)
{
	if (kind == REGISTRY_GROUP && row->model.group.dead_letter)
		return dead_letter_make(work, row);
	return 0;
}
