// Decides which platform roles a tenant lets in. Access keys, tokens and passwords give access to
// the messages of a tenant, and their bodies are for the tenant alone. So from the first login of
// an administrator of its own on, a platform role makes, rotates or widens none of these in that
// tenant, unless the tenant allows it: for a time, with a reason, in its audit log.
//
// A platform role may always reduce access: disable, delete, let expire sooner.
//
// When all administrators of a tenant are gone, an administrator of the platform sets the password
// of one of them ("breaking the glass"). This raises an alarm that no role can clear: it is shown
// in the tenant's audit log and with every login and `me` of the tenant's callers.
//
// What it does not do: check keys that were made before the first login again. The tenant was set
// up with them; it sees them and can end them.

#include "core/registry/operator_access.h"

#include "core/base/log.h"
#include "core/registry/audit.h"
#include "core/registry/checksum.h"
#include "core/registry/permission.h"
#include "core/registry/registry.h"
#include "core/registry/resource.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>

#define GRANT_MOST_MS (30ll * 24 * 3600 * 1000)

// Columns of operator_access, in the order of the SELECT below.
enum {
	GUARDED_MS,
	UNTIL_MS,
	GRANTED_BY,
	REASON,
	BROKEN_MS,
	BROKEN_BY,
	BROKEN_USER,
	BROKEN_REASON,
	CHECKSUM
};

static const char *column_text(sqlite3_stmt *statement, int column)
{
	return (const char *)sqlite3_column_text(statement, column);
}

static int64_t state_checksum(uint64_t tenant, sqlite3_stmt *statement)
{
	return checksum_values(
		"iiittittt", (int64_t)tenant, sqlite3_column_int64(statement, GUARDED_MS),
		sqlite3_column_int64(statement, UNTIL_MS), column_text(statement, GRANTED_BY),
		column_text(statement, REASON), sqlite3_column_int64(statement, BROKEN_MS),
		column_text(statement, BROKEN_BY), column_text(statement, BROKEN_USER),
		column_text(statement, BROKEN_REASON));
}

static int state_query(struct work *work, uint64_t tenant, sqlite3_stmt **ret)
{
	struct db *db = &work->registry->db;
	int r = db_query(db, ret,
			 "SELECT guarded_ms, until_ms, granted_by, reason, broken_ms, broken_by,"
			 " broken_user, broken_reason, crc FROM operator_access WHERE tenant = ?1",
			 "i", (int64_t)tenant);

	if (r == 0)
		r = db_step(db, *ret);
	if (r != 1 || sqlite3_column_type(*ret, CHECKSUM) == SQLITE_NULL ||
	    sqlite3_column_int64(*ret, CHECKSUM) == state_checksum(tenant, *ret))
		return r;
	log_error(NULL, "REGISTRY-DAMAGED",
		  "what tenant %llu allows the platform does not have its checksum: restore the "
		  "registry from a backup",
		  (unsigned long long)tenant);
	sqlite3_reset(*ret);
	return -EUCLEAN;
}

// After each change of a row.
static int state_stamp(struct work *work, uint64_t tenant)
{
	struct db *db = &work->registry->db;
	sqlite3_stmt *statement;
	int64_t checksum;
	int r = db_run(db, "UPDATE operator_access SET crc = NULL WHERE tenant = ?1", "i",
		       (int64_t)tenant);

	if (r == 0)
		r = state_query(work, tenant, &statement);
	if (r != 1)
		return r;
	checksum = state_checksum(tenant, statement);
	sqlite3_reset(statement);
	return db_run(db, "UPDATE operator_access SET crc = ?2 WHERE tenant = ?1", "ii",
		      (int64_t)tenant, checksum);
}

int operator_access_verify(struct work *work, uint64_t tenant)
{
	sqlite3_stmt *statement;
	int r = state_query(work, tenant, &statement);

	if (r == 1)
		sqlite3_reset(statement);
	return r;
}

static json_t *text_or_null(sqlite3_stmt *statement, int column)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);

	return text ? json_string(text) : json_null();
}

static json_t *time_or_null(int64_t time_ms)
{
	return time_ms ? json_integer(time_ms) : json_null();
}

static json_t *broken_json(sqlite3_stmt *statement)
{
	int64_t time_ms = sqlite3_column_int64(statement, BROKEN_MS);

	if (!time_ms)
		return json_null();
	return json_pack("{s:I, s:o, s:o, s:o}", "time_ms", (json_int_t)time_ms, "by",
			 text_or_null(statement, BROKEN_BY), "user",
			 text_or_null(statement, BROKEN_USER), "reason",
			 text_or_null(statement, BROKEN_REASON));
}

static json_t *state_json(struct work *work, sqlite3_stmt *statement)
{
	int64_t until_ms = sqlite3_column_int64(statement, UNTIL_MS);
	bool granted = until_ms > work->registry->now_ms();

	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "guarded_since_ms",
			 time_or_null(sqlite3_column_int64(statement, GUARDED_MS)),
			 "granted_until_ms", time_or_null(granted ? until_ms : 0), "granted_by",
			 granted ? text_or_null(statement, GRANTED_BY) : json_null(), "reason",
			 granted ? text_or_null(statement, REASON) : json_null(), "break_glass",
			 broken_json(statement));
}

static int state_of(struct work *work, uint64_t tenant, json_t **ret)
{
	sqlite3_stmt *statement;
	int r = state_query(work, tenant, &statement);

	if (r < 0)
		return r;
	*ret = r == 1 ? state_json(work, statement)
		      : json_pack("{s:n, s:n, s:n, s:n, s:n}", "guarded_since_ms",
				  "granted_until_ms", "granted_by", "reason", "break_glass");
	if (r == 1)
		sqlite3_reset(statement);
	return *ret ? 0 : -ENOMEM;
}

// ---- a restore

// In the copy, whatever it says itself; without a leave unless it is to come back.
static int leave_take_back(struct work *work, uint64_t tenant)
{
	int r = db_run(&work->registry->db,
		       "UPDATE operator_access SET until_ms = 0, granted_by = NULL, reason = NULL"
		       " WHERE tenant = ?1",
		       "i", (int64_t)tenant);

	return r < 0 ? r : state_stamp(work, tenant);
}

static int leave_of(struct work *work, uint64_t tenant, int64_t *ret)
{
	sqlite3_stmt *statement;
	int r = state_query(work, tenant, &statement);

	*ret = 0;
	if (r != 1)
		return r;
	*ret = sqlite3_column_int64(statement, UNTIL_MS);
	sqlite3_reset(statement);
	return 0;
}

// What stays whatever is restored: that the tenant guards itself, and that the glass was broken.
static int guard_keep(struct work *work, struct work *known, uint64_t tenant)
{
	sqlite3_stmt *statement;
	int r = state_query(known, tenant, &statement);

	if (r != 1)
		return r;
	r = db_run(&work->registry->db,
		   "INSERT INTO operator_access(tenant, guarded_ms, broken_ms, broken_by,"
		   " broken_user, broken_reason) VALUES(?1, ?2, ?3, ?4, ?5, ?6)"
		   " ON CONFLICT(tenant) DO UPDATE SET guarded_ms = ?2, broken_ms = ?3,"
		   " broken_by = ?4, broken_user = ?5, broken_reason = ?6",
		   "iiittt", (int64_t)tenant, sqlite3_column_int64(statement, GUARDED_MS),
		   sqlite3_column_int64(statement, BROKEN_MS), column_text(statement, BROKEN_BY),
		   column_text(statement, BROKEN_USER), column_text(statement, BROKEN_REASON));
	sqlite3_reset(statement);
	return r < 0 ? r : state_stamp(work, tenant);
}

int operator_access_restore(struct work *work, struct work *known, uint64_t tenant, bool revive,
			    bool *ret_withdrawn)
{
	int64_t copied, left = 0, now_ms = work->registry->now_ms();
	int r = leave_of(work, tenant, &copied);

	if (r == 0 && known)
		r = leave_of(known, tenant, &left);
	*ret_withdrawn = copied > now_ms && left < copied;
	if (r == 0 && known)
		r = guard_keep(work, known, tenant);
	if (r < 0 || !*ret_withdrawn || revive)
		return r;
	return leave_take_back(work, tenant);
}

int operator_access_broken(struct work *work, uint64_t tenant, json_t **ret)
{
	json_t *state;
	int r = state_of(work, tenant, &state);

	if (r < 0)
		return r;
	*ret = json_incref(json_object_get(state, "break_glass"));
	json_decref(state);
	return 0;
}

// ---- the guard

int operator_access_login(struct work *work, const struct row *user)
{
	struct db *db = &work->registry->db;
	const char *tenant;
	int64_t guarded = 0;
	int r;

	if (user->user.role != ROLE_TENANT_ADMIN)
		return 0;
	r = db_number(db, &guarded, "SELECT guarded_ms FROM operator_access WHERE tenant = ?1", "i",
		      (int64_t)user->user.tenant);
	if (r < 0 || guarded)
		return MIN(r, 0);
	r = db_run(db,
		   "INSERT INTO operator_access(tenant, guarded_ms) VALUES(?1, ?2)"
		   " ON CONFLICT(tenant) DO UPDATE SET guarded_ms = ?2",
		   "ii", (int64_t)user->user.tenant, work->registry->now_ms());
	if (r == 0)
		r = state_stamp(work, user->user.tenant);
	tenant = store_tenant_name(work, user->user.tenant);
	return r == 0 ? audit_write(work, "guard", "tenant", tenant, tenant, NULL, NULL) : r;
}

static int check_access(struct work *work, uint64_t tenant)
{
	int64_t closed = 0;
	const char *name;
	int r;

	if (!tenant || !work->actor->of_platform || work->glass_broken)
		return 0;
	r = operator_access_verify(work, tenant);
	if (r < 0)
		return r;
	r = db_number(&work->registry->db, &closed,
		      "SELECT count(*) FROM operator_access WHERE tenant = ?1 AND guarded_ms != 0"
		      " AND until_ms <= ?2",
		      "ii", (int64_t)tenant, work->registry->now_ms());
	if (r < 0 || !closed)
		return MIN(r, 0);
	name = store_tenant_name(work, tenant);
	return work_refuse(
		work, CODE_FORBIDDEN,
		"the tenant \"%s\" has an administrator of its own, who makes what opens "
		"it, or allows the platform to for a while (PUT "
		"/api/v1/tenants/%s/operator-access)",
		name ? name : "?", name ? name : "?");
}

static bool opens_a_tenant(enum registry_kind kind)
{
	return kind == REGISTRY_ACCESS_KEY || kind == REGISTRY_USER || kind == REGISTRY_TOKEN;
}

int operator_access_check(struct work *work, enum registry_kind kind, const struct row *row)
{
	return opens_a_tenant(kind) ? check_access(work, row_tenant(kind, row)) : 0;
}

static bool expires_sooner(const json_t *before, const json_t *after)
{
	return json_is_integer(after) && (!json_is_integer(before) ||
					  json_integer_value(after) <= json_integer_value(before));
}

// Only what takes away: each member is as it was, or says less.
static bool takes_away(json_t *before, json_t *after)
{
	const char *name;
	json_t *value;

	json_object_foreach(after, name, value)
	{
		const json_t *old = json_object_get(before, name);

		if (json_equal(old, value) || strcmp(name, "description") == 0 ||
		    (strcmp(name, "disabled") == 0 && json_is_true(value)) ||
		    (strcmp(name, "expires_ms") == 0 && expires_sooner(old, value)))
			continue;
		return false;
	}
	return true;
}

int operator_access_check_change(struct work *work, enum registry_kind kind, const struct row *old,
				 const struct row *row, json_t *before, json_t *after, bool hidden)
{
	int r;

	if (!opens_a_tenant(kind) || (!hidden && takes_away(before, after)))
		return 0;
	r = check_access(work, row_tenant(kind, old));
	return r == 0 ? check_access(work, row_tenant(kind, row)) : r;
}

// ---- calls

int registry_operator_access(struct registry *registry, const char *tenant,
			     struct registry_result *ret)
{
	struct work work;
	int r;

	work_open(&work, registry, ret);
	r = store_tenant(&work, tenant);
	if (r == 0)
		r = state_of(&work, work.tenant->object.id, &ret->body);
	return work_close(&work, r);
}

// Writes the change that `sql` makes, with its audit entry; the body is the state after it.
static int change_access(struct work *work, const char *action, int64_t until_ms,
			 const char *reason)
{
	struct db *db = &work->registry->db;
	const char *tenant = row_name(work->tenant);
	json_t *before;
	int r = state_of(work, work->tenant->object.id, &before);

	if (r < 0)
		return r;
	r = db_run(db,
		   "INSERT INTO operator_access(tenant, until_ms, granted_by, reason)"
		   " VALUES(?1, ?2, ?3, ?4) ON CONFLICT(tenant) DO UPDATE SET until_ms = ?2,"
		   " granted_by = ?3, reason = ?4",
		   "iitt", (int64_t)work->tenant->object.id, until_ms, work->actor->name, reason);
	if (r == 0)
		r = state_stamp(work, work->tenant->object.id);
	if (r == 0)
		r = state_of(work, work->tenant->object.id, &work->ret->body);
	if (r == 0)
		r = audit_write(work, action, "operator_access", tenant, tenant, before,
				work->ret->body);
	json_decref(before);
	return r;
}

int registry_operator_access_grant(struct registry *registry, const struct registry_actor *actor,
				   const char *tenant, uint64_t valid_ms, const char *reason,
				   struct registry_result *ret)
{
	struct work work;
	int r = work_begin(&work, registry, actor, ret);

	if (r == 0)
		r = store_tenant(&work, tenant);
	if (r == 0 && valid_ms > GRANT_MOST_MS)
		r = work_refuse(&work, CODE_BAD_REQUEST, "/valid_ms: at most 30 days");
	if (r == 0)
		r = change_access(&work, "grant", registry->now_ms() + (int64_t)valid_ms, reason);
	return work_end(&work, r);
}

int registry_operator_access_withdraw(struct registry *registry, const struct registry_actor *actor,
				      const char *tenant, struct registry_result *ret)
{
	struct work work;
	int r = work_begin(&work, registry, actor, ret);

	if (r == 0)
		r = store_tenant(&work, tenant);
	if (r == 0)
		r = change_access(&work, "withdraw", 0, NULL);
	return work_end(&work, r);
}

// ---- breaking the glass

// The user becomes an administrator of the tenant, enabled, with this password.
static int reset_admin(struct work *work, const struct registry_operator_access_break_glass *how)
{
	json_t *body = json_pack("{s:s, s:s, s:s, s:b}", "password", how->password, "role",
				 permission_role_names()[ROLE_TENANT_ADMIN], "tenant",
				 row_name(work->tenant), "disabled", 0);
	json_t *json = NULL;
	struct row user;
	bool changed;
	int r = store_find(work, REGISTRY_USER, 0, how->user, &user);

	if (r == 1 && user.user.tenant != work->tenant->object.id)
		r = work_refuse(work, CODE_CONFLICT, "\"%s\" is not a user of the tenant \"%s\"",
				how->user, row_name(work->tenant));
	else if (r == 1)
		r = resource_change(work, REGISTRY_USER, &user, body, &json, &changed);
	else if (r == 0)
		r = resource_create(work, REGISTRY_USER, how->user, body, &json);
	if (r == 0)
		r = db_run(
			&work->registry->db,
			"DELETE FROM sessions WHERE user = (SELECT id FROM users WHERE name = ?1)",
			"t", how->user);
	json_decref(json);
	json_decref(body);
	return r;
}

static int break_glass(struct work *work, const struct registry_operator_access_break_glass *how)
{
	const char *tenant = row_name(work->tenant);
	json_t *said;
	int r;

	work->glass_broken = true;
	r = reset_admin(work, how);
	if (r == 0)
		r = db_run(
			&work->registry->db,
			"INSERT INTO operator_access(tenant, broken_ms, broken_by, broken_user,"
			" broken_reason) VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(tenant) DO UPDATE"
			" SET broken_ms = ?2, broken_by = ?3, broken_user = ?4, broken_reason = ?5",
			"iittt", (int64_t)work->tenant->object.id, work->registry->now_ms(),
			work->actor->name, how->user, how->reason);
	if (r == 0)
		r = state_stamp(work, work->tenant->object.id);
	if (r != 0)
		return r;
	said = json_pack("{s:s, s:s}", "user", how->user, "reason", how->reason);
	r = said ? audit_write(work, "break_glass", "tenant", tenant, tenant, NULL, said) : -ENOMEM;
	json_decref(said);
	return r == 0 ? state_of(work, work->tenant->object.id, &work->ret->body) : r;
}

int registry_operator_access_break_glass(struct registry *registry,
					 const struct registry_actor *actor, const char *tenant,
					 const struct registry_operator_access_break_glass *how,
					 struct registry_result *ret)
{
	struct log_ctx log = {.tenant = tenant, .peer = actor->address};
	struct work work;
	int r = work_begin(&work, registry, actor, ret);

	if (r == 0)
		r = store_tenant(&work, tenant);
	if (r == 0)
		r = break_glass(&work, how);
	r = work_end(&work, r);
	if (r == 0 && ret->code == CODE_OK)
		log_warn(&log, "BREAK-GLASS",
			 "%s has set the password of the tenant's administrator \"%s\"",
			 actor->name, how->user);
	return r;
}

// Entries are never taken out of the audit log, so only those since the last call are looked at.
uint64_t registry_operator_access_glass_broken(struct registry *registry)
{
	uint64_t end = registry->head.audit_seq;
	int64_t more = 0;

	if (end < registry->glass_seq) // another log took its place
		registry->glass_seq = registry->glass_count = 0;
	if (end > registry->glass_seq &&
	    db_number(&registry->db, &more,
		      "SELECT count(*) FROM audit WHERE seq > ?1 AND seq <= ?2"
		      " AND action = 'break_glass'",
		      "ii", (int64_t)registry->glass_seq, (int64_t)end) == 1) {
		registry->glass_count += (uint64_t)more;
		registry->glass_seq = end;
	}
	return registry->glass_count;
}
