// Callers: users, sessions, tokens and what a role may.

#include "tests/unit/registry/cases.h"

#include "core/registry/identity.h"
#include "core/registry/operator_access.h"
#include "core/registry/proxies.h"
#include "core/registry/resource.h"
#include "tests/unit/registry/bench.h"

void bootstrap_works_once(void)
{
	char token[REGISTRY_TOKEN_SIZE], other[REGISTRY_TOKEN_SIZE];
	struct registry_identity identity;

	bench_begin();
	CHECK(!registry_identity_bootstrapped(bench.registry));
	CHECK_EQ(registry_identity_bootstrap_token(bench.registry, other), 0);
	CHECK_EQ(registry_identity_bootstrap_token(bench.registry, token), 0);
	CHECK_EQ(bench_outcome(registry_identity_bootstrap(bench.registry, NULL, other, "ann",
							   "correct horse battery", &bench.result)),
		 CODE_UNAUTHENTICATED);
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_identity_bootstrap(bench.registry, NULL, token, "ann",
							   "short", &bench.result)),
		 CODE_BAD_REQUEST);
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_identity_bootstrap(bench.registry, "10.0.0.1", token, "ann",
							   "correct horse battery", &bench.result)),
		 CODE_OK);
	CHECK_EQ(registry_identity_authenticate(bench.registry, bench_text("token"), &identity), 0);
	CHECK_EQ(identity.role, ROLE_ADMIN);
	CHECK(identity.session && identity.tenant == 0);
	CHECK_STR(identity.name, "ann");
	CHECK_EQ(registry_identity_authenticate(bench.registry, token, &identity),
		 REGISTRY_E_UNKNOWN);
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_identity_bootstrap(bench.registry, NULL, token, "bob",
							   "correct horse battery", &bench.result)),
		 CODE_CONFLICT);
	CHECK_EQ(registry_identity_bootstrap_token(bench.registry, token), REGISTRY_E_BOOTSTRAPPED);
	bench_end();
}

static enum code login(const char *user, const char *password)
{
	struct registry_identity_password check;

	registry_result_deinit(&bench.result);
	CHECK_EQ(registry_identity_password_look(bench.registry, user, &check), 0);
	registry_identity_password_compare(&check, password);
	return bench_outcome(
		registry_identity_login(bench.registry, NULL, user, &check, &bench.result));
}

static enum code change_password(const char *bearer, const char *old, const char *new)
{
	struct registry_identity_password check;

	registry_result_deinit(&bench.result);
	CHECK_EQ(registry_identity_password_look(bench.registry, "dev", &check), 0);
	registry_identity_password_compare(&check, old);
	return bench_outcome(registry_identity_password_change(bench.registry, &bench_ann, bearer,
							       &check, new, &bench.result));
}

void sessions(void)
{
	char one[REGISTRY_TOKEN_SIZE], two[REGISTRY_TOKEN_SIZE];
	struct registry_identity_password before;
	struct registry_identity identity;

	bench_acme();
	CHECK_EQ(bench_create(
			 REGISTRY_USER, NULL,
			 "{\"name\":\"dev\",\"role\":\"developer\",\"password\":\"0123456789ab\"}"),
		 CODE_BAD_REQUEST); // of which tenant?
	CHECK_EQ(bench_create(REGISTRY_USER, NULL,
			      "{\"name\":\"dev\",\"role\":\"developer\",\"tenant\":\"acme\","
			      "\"password\":\"0123456789ab\"}"),
		 CODE_OK);
	CHECK(bench_text("password") == NULL);
	CHECK_EQ(login("dev", "0123456789ac"), CODE_UNAUTHENTICATED);
	CHECK_EQ(login("nobody", "0123456789ab"), CODE_UNAUTHENTICATED);
	CHECK_EQ(login("dev", "0123456789ab"), CODE_OK);
	snprintf(one, sizeof one, "%s", bench_text("token"));
	CHECK_EQ(login("dev", "0123456789ab"), CODE_OK);
	snprintf(two, sizeof two, "%s", bench_text("token"));
	CHECK_EQ(registry_identity_authenticate(bench.registry, one, &identity), 0);
	CHECK_EQ(identity.role, ROLE_DEVELOPER);
	CHECK_STR(identity.tenant_name, "acme");
	CHECK(!bench_file_holds(bench.db_path, one) && !bench_file_holds(bench.wal_path, one));
	CHECK(!bench_file_holds(bench.wal_path, "0123456789ab"));

	CHECK_EQ(registry_identity_password_look(bench.registry, "dev", &before), 0);
	registry_identity_password_compare(&before, "0123456789ab");
	CHECK_EQ(change_password(one, "wrong password!", "new password!"), CODE_FORBIDDEN);
	CHECK_EQ(change_password(one, "0123456789ab", "new password!"), CODE_OK);
	registry_result_deinit(&bench.result); // compared in time, but with a password of the past
	CHECK_EQ(bench_outcome(registry_identity_login(bench.registry, NULL, "dev", &before,
						       &bench.result)),
		 CODE_UNAUTHENTICATED);
	CHECK_EQ(registry_identity_authenticate(bench.registry, one, &identity), 0);
	CHECK_EQ(registry_identity_authenticate(bench.registry, two, &identity),
		 REGISTRY_E_UNKNOWN);
	CHECK_EQ(login("dev", "new password!"), CODE_OK);

	CHECK_EQ(bench_put(REGISTRY_USER, NULL, "dev", "{\"disabled\":true}"), CODE_OK);
	CHECK_EQ(registry_identity_authenticate(bench.registry, one, &identity),
		 REGISTRY_E_UNKNOWN);
	CHECK_EQ(login("dev", "new password!"), CODE_UNAUTHENTICATED);
	CHECK_EQ(bench_put(REGISTRY_USER, NULL, "dev", "{\"disabled\":false}"), CODE_OK);
	CHECK_EQ(registry_identity_authenticate(bench.registry, one, &identity),
		 REGISTRY_E_UNKNOWN);
	CHECK_EQ(login("dev", "new password!"), CODE_OK);
	snprintf(one, sizeof one, "%s", bench_text("token"));
	CHECK_EQ(registry_identity_authenticate(bench.registry, one, &identity), 0);
	bench.now_ms += 13ll * 3600 * 1000;
	CHECK_EQ(registry_identity_authenticate(bench.registry, one, &identity),
		 REGISTRY_E_UNKNOWN);
	CHECK_EQ(login("dev", "new password!"), CODE_OK);
	snprintf(one, sizeof one, "%s", bench_text("token"));
	CHECK_EQ(registry_identity_logout(bench.registry, one), 0);
	CHECK_EQ(registry_identity_authenticate(bench.registry, one, &identity),
		 REGISTRY_E_UNKNOWN);
	bench_end();
}

// Leave ends by itself at its time, and a tenant that is made again under the same name begins
// free.
void leave_of_a_tenant(void)
{
	const struct registry_actor platform = {.name = "user:op", .of_platform = true};
	const struct registry_actor ann = {.name = "user:ann"};
	json_t *body = json_object();

	bench_acme();
	CHECK_EQ(bench_create(REGISTRY_USER, NULL,
			      "{\"name\":\"ann\",\"role\":\"tenant_admin\",\"tenant\":\"acme\","
			      "\"password\":\"0123456789ab\"}"),
		 CODE_OK);
#define MAKE_KEY()                                                                                 \
	(registry_result_deinit(&bench.result),                                                    \
	 bench_outcome(registry_resource_create(bench.registry, &platform, REGISTRY_ACCESS_KEY,    \
						"acme", body, &bench.result)))
	CHECK_EQ(MAKE_KEY(), CODE_OK);
	CHECK_EQ(login("ann", "0123456789ab"), CODE_OK);
	CHECK_EQ(MAKE_KEY(), CODE_FORBIDDEN);
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_operator_access_grant(bench.registry, &ann, "acme", 60000,
							      "why", &bench.result)),
		 CODE_OK);
	bench.now_ms += 59999;
	CHECK_EQ(MAKE_KEY(), CODE_OK);
	bench.now_ms += 1;
	CHECK_EQ(MAKE_KEY(), CODE_FORBIDDEN);
	CHECK_EQ(bench_drop(REGISTRY_TENANT, NULL, "acme", true), CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TENANT, NULL, "{\"name\":\"acme\"}"), CODE_OK);
	CHECK_EQ(MAKE_KEY(), CODE_OK);
#undef MAKE_KEY
	json_decref(body);
	bench_end();
}

void the_last_admin_stays(void)
{
	bench_begin();
	CHECK_EQ(bench_create(REGISTRY_USER, NULL,
			      "{\"name\":\"a\",\"role\":\"admin\",\"password\":\"0123456789ab\"}"),
		 CODE_OK);
	CHECK_EQ(bench_drop(REGISTRY_USER, NULL, "a", true), CODE_CONFLICT);
	CHECK_EQ(bench_put(REGISTRY_USER, NULL, "a", "{\"disabled\":true}"), CODE_CONFLICT);
	CHECK_EQ(bench_put(REGISTRY_USER, NULL, "a", "{\"role\":\"auditor\"}"), CODE_CONFLICT);
	CHECK_EQ(bench_create(REGISTRY_USER, NULL,
			      "{\"name\":\"b\",\"role\":\"admin\",\"password\":\"0123456789ab\"}"),
		 CODE_OK);
	CHECK_EQ(bench_drop(REGISTRY_USER, NULL, "a", false), CODE_OK);
	bench_end();
}

void machine_tokens(void)
{
	struct registry_identity identity;
	char token[64], id[24];

	bench_acme();
	CHECK_EQ(bench_create(REGISTRY_TOKEN, NULL, "{\"name\":\"ci\",\"role\":\"operator\"}"),
		 CODE_OK);
	snprintf(token, sizeof token, "%s", bench_text("token"));
	snprintf(id, sizeof id, "%lld", (long long)bench_number("id"));
	CHECK_EQ(registry_identity_authenticate(bench.registry, token, &identity), 0);
	CHECK_EQ(identity.role, ROLE_OPERATOR);
	CHECK(!identity.session);
	CHECK_EQ(bench_get(REGISTRY_TOKEN, NULL, id), CODE_OK);
	CHECK(bench_text("token") == NULL && json_object_get(bench.result.body, "hash") == NULL);
	CHECK_EQ(bench_get(REGISTRY_TOKEN, NULL, "ci"), CODE_NOT_FOUND);
	CHECK_EQ(bench_drop(REGISTRY_TOKEN, NULL, id, false), CODE_OK);
	CHECK_EQ(registry_identity_authenticate(bench.registry, token, &identity),
		 REGISTRY_E_UNKNOWN);
	CHECK_EQ(bench_create(REGISTRY_TOKEN, NULL,
			      "{\"name\":\"ci\",\"role\":\"viewer\",\"tenant\":\"acme\","
			      "\"expires_ms\":1700000000001}"),
		 CODE_OK);
	CHECK_EQ(registry_identity_authenticate(bench.registry, bench_text("token"), &identity),
		 REGISTRY_E_UNKNOWN);
	bench_end();
}

static enum code join(const char *token, uint8_t first, struct registry_proxy *ret)
{
	const uint8_t key[REGISTRY_KEY_HASH] = {first, 7};

	registry_result_deinit(&bench.result);
	return bench_outcome(
		registry_proxies_join(bench.registry, "::1", token, key, ret, &bench.result));
}

static int find_proxy(uint64_t id, uint8_t first)
{
	const uint8_t key[REGISTRY_KEY_HASH] = {first, 7};
	struct registry_proxy found;

	return registry_proxies_find(bench.registry, id, key, &found);
}

void proxies_join(void)
{
	static const uint8_t none[REGISTRY_KEY_HASH];
	struct registry_proxy proxy, other;
	char token[64];

	bench_acme();
	CHECK_EQ(bench_create(REGISTRY_PROXY, NULL, "{\"name\":\"b\"}"), CODE_OK);
	snprintf(token, sizeof token, "%s", bench_text("token"));
	CHECK_EQ(bench_number("expires_ms"), bench.now_ms + 3600000);
	CHECK_EQ(bench_create(REGISTRY_PROXY, NULL, "{\"name\":\"b\"}"), CODE_CONFLICT);
	CHECK_EQ(bench_get(REGISTRY_PROXY, NULL, "b"), CODE_OK);
	CHECK(!bench_text("token") && !json_object_get(bench.result.body, "hash"));
	// One that has not joined has no key, and that is no key of anyone.
	CHECK_EQ(registry_proxies_find(bench.registry, (uint64_t)bench_number("id"), none, &other),
		 0);
	CHECK_EQ(join("mqj_wrong", 1, &proxy), CODE_UNAUTHENTICATED);
	CHECK_EQ(join(token, 1, &proxy), CODE_OK);
	CHECK_STR(proxy.name, "b");
	// The same again, because the answer may be lost; no one else.
	CHECK_EQ(join(token, 1, &other), CODE_OK);
	CHECK_EQ(other.id, proxy.id);
	CHECK_EQ(join(token, 2, &other), CODE_UNAUTHENTICATED);
	CHECK_EQ(find_proxy(proxy.id, 1), 1);
	CHECK_EQ(find_proxy(proxy.id, 2), 0);
	bench.now_ms += 3600000;
	CHECK_EQ(join(token, 1, &other), CODE_UNAUTHENTICATED);
	CHECK_EQ(find_proxy(proxy.id, 1), 1);
	CHECK_EQ(bench_drop(REGISTRY_PROXY, NULL, "b", false), CODE_OK);
	CHECK_EQ(find_proxy(proxy.id, 1), 0);
	CHECK_EQ(join(token, 1, &other), CODE_UNAUTHENTICATED);
	CHECK_EQ(bench_put(REGISTRY_PROXY, NULL, "c", "{}"), CODE_NOT_FOUND);
	bench_end();
}

static void make_admin(const char *name)
{
	char body[128];

	snprintf(body, sizeof body,
		 "{\"name\":\"%s\",\"role\":\"admin\",\"password\":\"0123456789ab\"}", name);
	CHECK_EQ(bench_create(REGISTRY_USER, NULL, body), CODE_OK);
}

// The id of a token that `actor` made; its secret goes to `secret`.
static uint64_t make_token(const char *actor, const char *name, char secret[64])
{
	const struct registry_actor maker = {.name = actor};
	json_t *body = json_pack("{s:s, s:s}", "name", name, "role", "admin");

	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_resource_create(bench.registry, &maker, REGISTRY_TOKEN,
							NULL, body, &bench.result)),
		 CODE_OK);
	json_decref(body);
	CHECK_STR(bench_text("maker"), actor);
	snprintf(secret, 64, "%s", bench_text("token"));
	return (uint64_t)bench_number("id");
}

static int authenticate(const char *bearer)
{
	struct registry_identity identity;

	return registry_identity_authenticate(bench.registry, bearer, &identity);
}

void tokens_end_with_their_maker(void)
{
	char first[64], second[64], id[24];
	uint64_t made;

	bench_begin();
	make_admin("ann");
	make_admin("bob");
	made = make_token("user:bob", "ci", first);
	make_token("token:ci", "child", second);
	CHECK_EQ(authenticate(first), 0);
	CHECK_EQ(authenticate(second), 0);
	// A maker that may not make it any more.
	CHECK_EQ(bench_put(REGISTRY_USER, NULL, "bob", "{\"role\":\"auditor\"}"), CODE_OK);
	CHECK_EQ(authenticate(first), REGISTRY_E_UNKNOWN);
	CHECK_EQ(authenticate(second), REGISTRY_E_UNKNOWN);
	CHECK_EQ(bench_put(REGISTRY_USER, NULL, "bob", "{\"role\":\"admin\",\"disabled\":true}"),
		 CODE_OK);
	CHECK_EQ(authenticate(second), REGISTRY_E_UNKNOWN);
	CHECK_EQ(bench_put(REGISTRY_USER, NULL, "bob", "{\"disabled\":false}"), CODE_OK);
	CHECK_EQ(authenticate(second), 0);
	// A deletion says what goes with it.
	snprintf(id, sizeof id, "%llu", (unsigned long long)made);
	CHECK_EQ(bench_drop(REGISTRY_TOKEN, NULL, id, false), CODE_IN_USE);
	CHECK_EQ(bench_drop(REGISTRY_USER, NULL, "bob", false), CODE_IN_USE);
	CHECK_EQ(json_array_size(bench.result.affected), 3);
	CHECK_EQ(bench_drop(REGISTRY_USER, NULL, "bob", true), CODE_OK);
	CHECK_EQ(bench_get(REGISTRY_TOKEN, NULL, id), CODE_NOT_FOUND);
	CHECK_EQ(authenticate(second), REGISTRY_E_UNKNOWN);
	// Another user of the name is another maker.
	make_admin("bob");
	CHECK_EQ(authenticate(second), REGISTRY_E_UNKNOWN);
	bench_end();
}

static bool may(const char *name, enum role role, uint64_t own, uint64_t target)
{
	return permission_check(permission_find(name), role, own, target);
}

void permissions(void)
{
	CHECK(may("topics.write", ROLE_DEVELOPER, 2, 2));
	CHECK(!may("topics.write", ROLE_DEVELOPER, 2, 3));
	CHECK(!may("topics.write", ROLE_DEVELOPER, 2, 0));
	CHECK(!may("topics.write", ROLE_VIEWER, 2, 2));
	CHECK(may("topics.read", ROLE_VIEWER, 2, 2));
	CHECK(may("topics.write", ROLE_OPERATOR, 0, 3));
	CHECK(!may("topics.write", ROLE_AUDITOR, 0, 3));
	CHECK(!may("users.write", ROLE_OPERATOR, 0, 0));
	CHECK(!may("clusters.read", ROLE_TENANT_ADMIN, 2, 2));
	CHECK(!may("messages.read_bodies", ROLE_ADMIN, 0, 2));
	CHECK(may("messages.read_bodies", ROLE_DEVELOPER, 2, 2));
	CHECK(may("me.read", ROLE_VIEWER, 2, 0));
	CHECK(!may("no.such", ROLE_ADMIN, 0, 0));
	CHECK(!may("topics.read", ROLE_COUNT, 0, 0));
	for (unsigned i = 0; permission_at(i); ++i) {
		CHECK(permission_find(permission_at(i)->name) == permission_at(i));
		CHECK(permission_at(i)->roles != 0 && strlen(permission_at(i)->sentence) > 5);
	}
}
