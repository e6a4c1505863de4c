// Authentication of callers: sessions of users, tokens of machines, and the one-time token for the
// first user.
//
// Of every token only the SHA-256 is stored: they are random, so a fast hash is enough, and a copy
// of the file does not let an attacker in. Role and tenant are read anew with every request, so
// disabling or moving a user has effect at once.

#include "core/registry/identity.h"

#include "core/base/base64url.h"
#include "core/base/log.h"
#include "core/registry/audit.h"
#include "core/registry/checksum.h"
#include "core/registry/operator_access.h"
#include "core/registry/permission.h"
#include "core/registry/registry.h"
#include "core/registry/resource.h"
#include "core/registry/secret.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdio.h>

#define SESSION_PREFIX   "mqs_"
#define BOOTSTRAP_PREFIX "mqb_"
#define PREFIX_SIZE      4
#define TOKEN_BYTES      32
#define SESSION_MS       (12ll * 3600 * 1000)
#define HASH_SIZE        32

_Static_assert(REGISTRY_TOKEN_SIZE >= PREFIX_SIZE + BASE64URL_SIZE(TOKEN_BYTES), "a token fits");

static int token_make(const char *prefix, char token[REGISTRY_TOKEN_SIZE], uint8_t hash[HASH_SIZE])
{
	int r;

	memcpy(token, prefix, PREFIX_SIZE);
	r = secret_random_text(token + PREFIX_SIZE, TOKEN_BYTES);
	secret_hash(token, hash);
	return r;
}

// ---- sessions

static int64_t session_checksum(const uint8_t hash[HASH_SIZE], int64_t user, int64_t expires_ms)
{
	return checksum_values("bii", hash, (size_t)HASH_SIZE, user, expires_ms);
}

static int session_make(struct work *work, const struct row *user)
{
	struct registry *registry = work->registry;
	int64_t now_ms = registry->now_ms(), expires_ms = now_ms + SESSION_MS;
	const char *tenant = store_tenant_name(work, user->user.tenant);
	char token[REGISTRY_TOKEN_SIZE];
	uint8_t hash[HASH_SIZE];
	json_t *broken = NULL;
	int r = token_make(SESSION_PREFIX, token, hash);

	if (r == 0)
		r = db_run(&registry->db, "DELETE FROM sessions WHERE expires_ms <= ?1", "i",
			   now_ms);
	if (r == 0)
		r = db_run(&registry->db, "INSERT INTO sessions VALUES(?1, ?2, ?3, ?4)", "biii",
			   hash, sizeof hash, (int64_t)user->object.id, expires_ms,
			   session_checksum(hash, (int64_t)user->object.id, expires_ms));
	if (r == 0)
		r = audit_write(work, "login", "user", row_name(user), tenant, NULL, NULL);
	if (r == 0)
		r = operator_access_login(work, user);
	if (r == 0)
		r = operator_access_broken(work, user->user.tenant, &broken);
	if (r < 0)
		return r;
	work->ret->body = json_pack("{s:s, s:I, s:s, s:s, s:s?, s:o}", "token", token, "expires_ms",
				    (json_int_t)expires_ms, "user", row_name(user), "role",
				    permission_role_names()[user->user.role], "tenant", tenant,
				    "break_glass", broken);
	return work->ret->body ? 0 : -ENOMEM;
}

static int password_look(struct work *work, const char *name,
			 struct registry_identity_password *ret)
{
	struct row user;
	int r = store_find(work, REGISTRY_USER, 0, name, &user);

	*ret = (struct registry_identity_password){0};
	if (r == 1 && strlen(user.user.password) >= sizeof ret->encoded)
		return -EOVERFLOW;
	if (r == 1)
		memcpy(ret->encoded, user.user.password, strlen(user.user.password));
	return MIN(r, 0);
}

int registry_identity_password_look(struct registry *registry, const char *user,
				    struct registry_identity_password *ret)
{
	struct registry_result result = {0};
	struct work work;
	int r;

	work_open(&work, registry, &result);
	r = password_look(&work, user, ret);
	work_close(&work, r);
	registry_result_deinit(&result);
	return r;
}

void registry_identity_password_compare(struct registry_identity_password *check,
					const char *password)
{
	check->fits = secret_password_fits(*check->encoded ? check->encoded : NULL, password);
}

// The check was of this user as it still is.
static bool accepts_password(const struct registry_identity_password *check, const struct row *user)
{
	return check->fits && strcmp(check->encoded, user->user.password) == 0;
}

static int login_user(struct work *work, const char *name,
		      const struct registry_identity_password *check)
{
	struct row user;
	int r = store_find(work, REGISTRY_USER, 0, name, &user);

	if (r < 0)
		return r;
	if (r == 0 || !accepts_password(check, &user) || user.user.disabled)
		return work_refuse(work, CODE_UNAUTHENTICATED,
				   "the user or the password is not accepted");
	return session_make(work, &user);
}

// The actor of a login is the user who logs in.
struct login {
	struct registry_actor actor;
	char name[5 + MODEL_NAME_BYTES + 1];
};

static void login_actor(struct login *login, const char *user, const char *address)
{
	snprintf(login->name, sizeof login->name, "user:%s", user);
	login->actor = (struct registry_actor){.name = login->name, .address = address};
}

int registry_identity_login(struct registry *registry, const char *address, const char *user,
			    const struct registry_identity_password *check,
			    struct registry_result *ret)
{
	struct login actor;
	struct work work;
	int r;

	login_actor(&actor, user, address);
	r = work_begin(&work, registry, &actor.actor, ret);
	if (r == 0)
		r = login_user(&work, user, check);
	return work_end(&work, r);
}

int registry_identity_logout(struct registry *registry, const char *bearer)
{
	uint8_t hash[HASH_SIZE];

	secret_hash(bearer, hash);
	return db_run(&registry->db, "DELETE FROM sessions WHERE hash = ?1", "b", hash,
		      sizeof hash);
}

// ---- authentication

static int find_session(struct work *work, const uint8_t hash[HASH_SIZE],
			struct registry_identity *ret, struct row *row)
{
	struct db *db = &work->registry->db;
	sqlite3_stmt *statement;
	uint64_t user;
	bool good;
	int r = db_query(
		db, &statement,
		"SELECT user, expires_ms, crc FROM sessions WHERE hash = ?1 AND expires_ms > ?2",
		"bi", hash, (size_t)HASH_SIZE, work->registry->now_ms());

	if (r == 0)
		r = db_step(db, statement);
	if (r != 1)
		return r;
	user = (uint64_t)sqlite3_column_int64(statement, 0);
	ret->expires_ms = sqlite3_column_int64(statement, 1);
	good = sqlite3_column_int64(statement, 2) ==
	       session_checksum(hash, (int64_t)user, ret->expires_ms);
	sqlite3_reset(statement);
	if (!good) {
		log_error(NULL, "REGISTRY-DAMAGED",
			  "a session does not have its checksum: it ends");
		return 0;
	}
	r = store_load(work, REGISTRY_USER, user, row);
	ret->role = (enum role)row->user.role;
	return r == 1 && !row->user.disabled ? 1 : MIN(r, 0);
}

// A token never outlasts its maker, nor does more: its maker, and the maker's maker, must be there,
// enabled and not expired, and still have the permission to make such a token. 1: they do.
static int maker_stands(struct work *work, const struct row *token)
{
	const struct permission *may = permission_find("tokens.write");
	uint64_t tenant = token->token.tenant;
	struct row row = *token;
	int r;

	while (row.token.maker_id) { // a maker's id is below that of what it made
		uint64_t maker = row.token.maker_id;

		r = store_load(work, REGISTRY_USER, maker, &row);
		if (r < 0)
			return r;
		if (r == 1)
			return !row.user.disabled && permission_check(may, (enum role)row.user.role,
								      row.user.tenant, tenant);
		r = store_load(work, REGISTRY_TOKEN, maker, &row);
		if (r != 1)
			return r;
		if (!permission_check(may, (enum role)row.token.role, row.token.tenant, tenant) ||
		    (row.token.expires_ms && row.token.expires_ms <= work->registry->now_ms()))
			return 0;
	}
	return 1;
}

static int find_token(struct work *work, const uint8_t hash[HASH_SIZE],
		      struct registry_identity *ret, struct row *row)
{
	int64_t id;
	int r = db_number(&work->registry->db, &id,
			  "SELECT id FROM tokens WHERE hash = ?1 AND"
			  " (expires_ms = 0 OR expires_ms > ?2)",
			  "bi", hash, (size_t)HASH_SIZE, work->registry->now_ms());

	if (r == 1)
		r = store_load(work, REGISTRY_TOKEN, (uint64_t)id, row);
	if (r == 1) {
		ret->role = (enum role)row->token.role;
		ret->expires_ms = row->token.expires_ms;
		r = maker_stands(work, row);
	}
	return r;
}

// A tenant that is going takes its people and machines with it.
static int fill_identity(struct work *work, enum registry_kind kind, const struct row *row,
			 struct registry_identity *ret)
{
	const char *tenant;

	ret->session = kind == REGISTRY_USER;
	ret->id = row->object.id;
	ret->tenant = row_tenant(kind, row);
	snprintf(ret->name, sizeof ret->name, "%s", row_name(row));
	ret->tenant_name[0] = '\0';
	if (!ret->tenant)
		return 0;
	tenant = store_tenant_name(work, ret->tenant);
	if (!tenant)
		return REGISTRY_E_UNKNOWN;
	snprintf(ret->tenant_name, sizeof ret->tenant_name, "%s", tenant);
	return 0;
}

int registry_identity_authenticate(struct registry *registry, const char *bearer,
				   struct registry_identity *ret)
{
	struct registry_result result = {0};
	struct registry_identity identity = {0};
	bool session = strncmp(bearer, SESSION_PREFIX, PREFIX_SIZE) == 0;
	uint8_t hash[HASH_SIZE];
	struct work work;
	struct row row;
	int r;

	work_open(&work, registry, &result);
	secret_hash(bearer, hash);
	r = session ? find_session(&work, hash, &identity, &row)
		    : find_token(&work, hash, &identity, &row);
	if (r == 0)
		r = REGISTRY_E_UNKNOWN;
	else if (r == 1)
		r = fill_identity(&work, session ? REGISTRY_USER : REGISTRY_TOKEN, &row, &identity);
	if (r == 0)
		*ret = identity;
	work_close(&work, MIN(r, 0));
	registry_result_deinit(&result);
	return r;
}

// ---- passwords

static int password_change(struct work *work, const char *bearer,
			   const struct registry_identity_password *old, const char *new_password)
{
	struct registry_identity identity;
	uint8_t hash[HASH_SIZE];
	json_t *body, *json = NULL;
	struct row user = {0};
	bool changed;
	int r;

	secret_hash(bearer, hash);
	r = find_session(work, hash, &identity, &user);
	if (r < 0)
		return r;
	if (r == 0)
		return work_refuse(work, CODE_FORBIDDEN, "only a person has a password");
	if (!accepts_password(old, &user))
		return work_refuse(work, CODE_FORBIDDEN, "the old password is not right");
	body = json_pack("{s:s}", "password", new_password);
	r = resource_change(work, REGISTRY_USER, &user, body, &json, &changed);
	json_decref(body);
	json_decref(json);
	if (r != 0)
		return r;
	return db_run(&work->registry->db, "DELETE FROM sessions WHERE user = ?1 AND hash != ?2",
		      "ib", (int64_t)user.object.id, hash, sizeof hash);
}

int registry_identity_password_change(struct registry *registry, const struct registry_actor *actor,
				      const char *bearer,
				      const struct registry_identity_password *old,
				      const char *new_password, struct registry_result *ret)
{
	struct work work;
	int r = work_begin(&work, registry, actor, ret);

	if (r == 0)
		r = password_change(&work, bearer, old, new_password);
	return work_end(&work, r);
}

// ---- the first user

bool registry_identity_bootstrapped(struct registry *registry)
{
	int64_t users = 0;

	return db_number(&registry->db, &users, "SELECT EXISTS (SELECT 1 FROM users)", "") < 0 ||
	       users != 0;
}

int registry_identity_bootstrap_token(struct registry *registry, char ret[REGISTRY_TOKEN_SIZE])
{
	uint8_t hash[HASH_SIZE];
	int r;

	if (registry_identity_bootstrapped(registry))
		return REGISTRY_E_BOOTSTRAPPED;
	r = token_make(BOOTSTRAP_PREFIX, ret, hash);
	if (r < 0)
		return r;
	return db_run(&registry->db, "INSERT OR REPLACE INTO meta VALUES('bootstrap', ?1)", "b",
		      hash, sizeof hash);
}

static int make_first_user(struct work *work, const char *token, const char *user,
			   const char *password)
{
	struct registry *registry = work->registry;
	uint8_t hash[HASH_SIZE];
	json_t *body, *json = NULL;
	int64_t fits = 0;
	struct row row;
	int r;

	if (registry_identity_bootstrapped(registry))
		return work_refuse(work, CODE_CONFLICT, "there is a first user already");
	secret_hash(token, hash);
	r = db_number(&registry->db, &fits,
		      "SELECT count(*) FROM meta WHERE name = 'bootstrap' AND value = ?1", "b",
		      hash, sizeof hash);
	if (r < 0)
		return r;
	if (fits == 0)
		return work_refuse(work, CODE_UNAUTHENTICATED, "the token is not accepted");
	body = json_pack("{s:s, s:s, s:s}", "name", user, "password", password, "role",
			 permission_role_names()[ROLE_ADMIN]);
	r = resource_create(work, REGISTRY_USER, NULL, body, &json);
	json_decref(body);
	if (r != 0)
		return r;
	r = store_load(work, REGISTRY_USER,
		       (uint64_t)json_integer_value(json_object_get(json, "id")), &row);
	json_decref(json);
	if (r == 1)
		r = db_run(&registry->db, "DELETE FROM meta WHERE name = 'bootstrap'", "");
	return r == 0 ? session_make(work, &row) : r;
}

int registry_identity_bootstrap(struct registry *registry, const char *address, const char *token,
				const char *user, const char *password, struct registry_result *ret)
{
	struct login actor;
	struct work work;
	int r;

	login_actor(&actor, user, address);
	r = work_begin(&work, registry, &actor.actor, ret);
	if (r == 0)
		r = make_first_user(&work, token, user, password);
	if (r == 0)
		ret->created = true;
	return work_end(&work, r);
}
