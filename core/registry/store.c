// Finds, writes and shows rows of the registry.
//
// Invariants: a row that is written gets the revision of the work, and marks the work as changed. A
// resource of the catalog that is dropped leaves its id in `gone`, so that proxies get deltas that
// name it; what belongs to a dropped row (totals, sessions) is dropped in the same transaction.
//
// Not here: what a row may say (constraints.c), its columns (row.c), the audit log (audit.c).

#include "core/registry/store.h"
#include "core/registry/checksum.h"
#include "core/registry/registry.h"
#include "core/registry/work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

// ---- finding

static int read_one(struct work *work, enum registry_kind kind, sqlite3_stmt *statement,
		    struct row *ret)
{
	struct registry *registry = work->registry;
	int r = db_step(&registry->db, statement);

	memset(ret, 0, sizeof *ret);
	if (r != 1)
		return r;
	r = row_read(kind, statement, &registry->key, &work->arena, ret);
	sqlite3_reset(statement);
	return r < 0 ? r : 1;
}

int store_find(struct work *work, enum registry_kind kind, uint64_t tenant, const char *name,
	       struct row *ret)
{
	struct registry *registry = work->registry;
	sqlite3_stmt *statement;
	int r = db_query(&registry->db, &statement, registry->sql[kind].by_name, "it",
			 (int64_t)tenant, name);

	if (r == 0)
		r = read_one(work, kind, statement, ret);
	return r;
}

int store_load(struct work *work, enum registry_kind kind, uint64_t id, struct row *ret)
{
	struct registry *registry = work->registry;
	sqlite3_stmt *statement;
	int r = db_query(&registry->db, &statement, registry->sql[kind].by_id, "i", (int64_t)id);

	return r < 0 ? r : read_one(work, kind, statement, ret);
}

int store_tenant(struct work *work, const char *name)
{
	struct row *row = arena_alloc(&work->arena, sizeof *row);
	int r = row ? store_find(work, REGISTRY_TENANT, 0, name, row) : -ENOMEM;

	if (r < 0)
		return r;
	if (r == 0 || row->deleting)
		return work_refuse(work, CODE_NOT_FOUND, "there is no tenant \"%s\"", name);
	work->tenant = row;
	return 0;
}

// A token's name in a path is its id.
static int find_named(struct work *work, const struct registry_ref *ref, struct row *ret)
{
	uint64_t tenant = work->tenant ? work->tenant->object.id : 0;
	unsigned long long id;
	char *end;

	if (ref->kind != REGISTRY_TOKEN)
		return store_find(work, ref->kind, tenant, ref->name, ret);
	errno = 0;
	id = strtoull(ref->name, &end, 10);
	if (errno || *end || end == ref->name || id > INT64_MAX)
		return 0;
	return store_load(work, ref->kind, id, ret);
}

int store_locate(struct work *work, const struct registry_ref *ref, struct row *ret)
{
	int r = 0;

	memset(ret, 0, sizeof *ret);
	if (row_kind(ref->kind).tenanted)
		r = store_tenant(work, ref->tenant);
	if (r != 0)
		return r < 0 ? r : STORE_REFUSED;
	return find_named(work, ref, ret);
}

int store_resolve(struct work *work, const struct registry_ref *ref, struct row *ret)
{
	int r = store_locate(work, ref, ret);

	if (r < 0)
		return r;
	if (r == STORE_REFUSED)
		return 1;
	if (r == 0 || ret->deleting)
		return work_refuse(work, CODE_NOT_FOUND, "there is no %s \"%s\"",
				   row_kind(ref->kind).name, ref->name);
	return 0;
}

// ---- changing

uint64_t store_new_id(struct work *work)
{
	return work->next_id++;
}

static int write_row(struct work *work, enum registry_kind kind, const char *sql, struct row *row)
{
	struct registry *registry = work->registry;
	sqlite3_stmt *statement;
	int r = db_query(&registry->db, &statement, sql, "");

	row->object.revision = work->revision;
	work->changed = true;
	if (r == 0)
		r = row_bind(kind, statement, &registry->key, &work->arena, row);
	return r < 0 ? r : db_step(&registry->db, statement);
}

int store_insert(struct work *work, enum registry_kind kind, struct row *row)
{
	row->edited = work->revision;
	row->created_ms = work->registry->now_ms();
	return write_row(work, kind, work->registry->sql[kind].insert, row);
}

int store_update(struct work *work, enum registry_kind kind, struct row *row)
{
	return write_row(work, kind, work->registry->sql[kind].update, row);
}

int store_drop(struct work *work, enum registry_kind kind, uint64_t id)
{
	struct db *db = &work->registry->db;
	int r = db_run(db, work->registry->sql[kind].drop, "i", (int64_t)id);

	work->changed = true;
	if (r == 0)
		r = db_run(db, "DELETE FROM totals WHERE kind = ?1 AND id = ?2", "ii",
			   (int64_t)kind, (int64_t)id);
	if (r == 0 && kind == REGISTRY_USER)
		r = db_run(db, "DELETE FROM sessions WHERE user = ?1", "i", (int64_t)id);
	if (r == 0 && kind == REGISTRY_TENANT)
		r = db_run(db, "DELETE FROM operator_access WHERE tenant = ?1", "i", (int64_t)id);
	if (r == 0 && kind < REGISTRY_USER) {
		r = db_run(db, "INSERT OR REPLACE INTO gone VALUES(?1, ?2, ?3, ?4)", "iiii",
			   (int64_t)work->revision, (int64_t)kind, (int64_t)id,
			   (int64_t)checksum_values("iii", (int64_t)work->revision, (int64_t)kind,
						    (int64_t)id));
		if (r == 0)
			r = db_run(db, "DELETE FROM gone WHERE revision < ?1", "i",
				   (int64_t)work->revision - STORE_GONE_KEPT);
	}
	return r;
}

// ---- showing

// The name of a row by its id alone; NULL: none.
const char *store_name(struct work *work, enum registry_kind kind, uint64_t id)
{
	static const char *const sql[REGISTRY_KIND_COUNT] = {
		[REGISTRY_TENANT] = "SELECT name FROM tenants WHERE id = ?1",
		[REGISTRY_ACCESS_KEY] = "SELECT key_id FROM access_keys WHERE id = ?1",
		[REGISTRY_CLUSTER] = "SELECT name FROM clusters WHERE id = ?1",
		[REGISTRY_TOPIC] = "SELECT name FROM topics WHERE id = ?1",
		[REGISTRY_GROUP] = "SELECT name FROM \"groups\" WHERE id = ?1",
		[REGISTRY_USER] = "SELECT name FROM users WHERE id = ?1",
		[REGISTRY_TOKEN] = "SELECT name FROM tokens WHERE id = ?1",
		[REGISTRY_PROXY] = "SELECT name FROM proxies WHERE id = ?1",
	};
	struct db *db = &work->registry->db;
	sqlite3_stmt *statement;
	char *name = NULL;

	if (id == 0 || db_query(db, &statement, sql[kind], "i", (int64_t)id) < 0)
		return NULL;
	if (db_step(db, statement) == 1) {
		name = arena_text(&work->arena, (const char *)sqlite3_column_text(statement, 0));
		sqlite3_reset(statement);
	}
	return name;
}

const char *store_tenant_name(struct work *work, uint64_t tenant)
{
	if (work->tenant && work->tenant->object.id == tenant)
		return row_name(work->tenant);
	return store_name(work, REGISTRY_TENANT, tenant);
}

static const char *names_name(void *ctx, enum model_kind kind, uint64_t id)
{
	struct work *work = ctx;

	return kind == MODEL_TENANT ? store_tenant_name(work, id)
				    : store_name(work, (enum registry_kind)kind, id);
}

// A tenant's caller can name the clusters that the tenant may use; any other is answered like one
// that does not exist.
static bool may_name_cluster(const struct work *work, uint64_t cluster)
{
	const struct tenant *tenant;

	if (!work->tenant || !work->actor || !work->actor->tenant)
		return true;
	tenant = &work->tenant->model.tenant;
	for (size_t i = 0; i < tenant->cluster_count; ++i)
		if (tenant->clusters[i] == cluster)
			return true;
	return false;
}

static uint64_t names_id(void *ctx, enum model_kind kind, const char *name)
{
	struct work *work = ctx;
	struct row row = {0};
	uint64_t tenant = work->tenant ? work->tenant->object.id : 0;

	if (store_find(work, (enum registry_kind)kind, tenant, name, &row) != 1 || row.deleting)
		return 0;
	if (kind == MODEL_CLUSTER && !may_name_cluster(work, row.object.id))
		return 0;
	return row.object.id;
}

struct json_names store_names(struct work *work)
{
	return (struct json_names){.ctx = work, .id = names_id, .name = names_name};
}

json_t *store_json(struct work *work, enum registry_kind kind, const struct row *row)
{
	struct json_names names = store_names(work);
	struct row_kind words = row_kind(kind);
	json_t *body = json_write(&words.shape, &names, row);

	if (!body)
		return NULL;
	json_object_set_new(body, "id", json_integer((json_int_t)row->object.id));
	json_object_set_new(body, "revision", json_integer((json_int_t)row->edited));
	if (kind == REGISTRY_CLUSTER)
		json_object_set_new(body, "has_secrets",
				    json_boolean(row->model.cluster.secrets_json != NULL));
	if (kind == REGISTRY_GROUP && row->model.group.start != GROUP_START_TIME)
		json_object_del(json_object_get(body, "start"), "time_ms");
	return body;
}

// ---- the whole

// The file holds verifiers and hashes: it is its owner's alone. SQLite gives its log the same mode.
int store_make_private(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

// Pages, indexes, and that each index knows each row.
int store_check_pages(struct db *db)
{
	sqlite3_stmt *statement;
	int r = db_query(db, &statement, "PRAGMA integrity_check(1)", "");

	if (r == 0)
		r = db_step(db, statement);
	if (r != 1)
		return r < 0 ? r : -EUCLEAN;
	r = strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0 ? 0 : -EUCLEAN;
	sqlite3_reset(statement);
	return r;
}

int store_check_rows(struct registry *registry, enum registry_kind kind)
{
	sqlite3_stmt *statement;
	int r = db_query(&registry->db, &statement, registry->sql[kind].select, "");

	while (r == 0 && (r = db_step(&registry->db, statement)) == 1) {
		struct arena arena = {0};
		struct row row;

		r = row_read(kind, statement, &registry->key, &arena, &row);
		arena_deinit(&arena);
		if (r < 0)
			sqlite3_reset(statement);
	}
	return r;
}
