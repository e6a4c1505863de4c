// What a restore leaves revoked, and what it does with names that have another owner by now.

#include "tests/unit/registry/cases.h"

#include "core/registry/backup.h"
#include "core/registry/identity.h"
#include "core/registry/lookup.h"
#include "core/registry/operator_access.h"
#include "core/registry/proxies.h"
#include "core/registry/scrub.h"
#include "tests/unit/registry/bench.h"

#include <unistd.h>

static void make_user(const char *name, const char *rest)
{
	char body[192];

	snprintf(body, sizeof body, "{\"name\":\"%s\",\"password\":\"0123456789ab\",%s}", name,
		 rest);
	CHECK_EQ(bench_create(REGISTRY_USER, NULL, body), CODE_OK);
}

static uint64_t make_token(const char *name, char secret[REGISTRY_TOKEN_SIZE])
{
	char body[96];

	snprintf(body, sizeof body, "{\"name\":\"%s\",\"role\":\"operator\"}", name);
	CHECK_EQ(bench_create(REGISTRY_TOKEN, NULL, body), CODE_OK);
	snprintf(secret, REGISTRY_TOKEN_SIZE, "%s", bench_text("token"));
	return (uint64_t)bench_number("id");
}

static void back_up(void)
{
	unlink(bench.backup_path);
	CHECK_EQ(registry_backup(bench.registry, bench.backup_path), 0);
}

static enum code restore(bool revive, bool preview)
{
	const struct registry_backup_restore_how how = {
		.path = bench.backup_path, .revive = revive, .preview = preview};
	_cleanup_(freep) char *error = NULL;

	CHECK_EQ(registry_backup_restore_prepare(bench.registry, bench.backup_path, &error), 0);
	registry_result_deinit(&bench.result);
	return bench_outcome(
		registry_backup_restore(bench.registry, &bench_ann, &how, &bench.result));
}

// What the answer says of one name in a list; NULL: nothing.
static const char *listed(const char *list, const char *kind, const char *name)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(bench.result.body, list), i, row)
	{
		if (strcmp(json_string_value(json_object_get(row, "kind")), kind) == 0 &&
		    strcmp(json_string_value(json_object_get(row, "name")), name) == 0)
			return json_string_value(json_object_get(
				row, strcmp(list, "revoked") == 0 ? "since" : "reason"));
	}
	return NULL;
}

static bool logs_in(const char *user, const char *password)
{
	struct registry_result result = {0};
	struct registry_identity_password check;
	bool good;

	CHECK_EQ(registry_identity_password_look(bench.registry, user, &check), 0);
	registry_identity_password_compare(&check, password);
	CHECK_EQ(registry_identity_login(bench.registry, NULL, user, &check, &result), 0);
	good = result.code == CODE_OK;
	registry_result_deinit(&result);
	return good;
}

static bool gets_in(const char *token)
{
	struct registry_identity identity;

	return registry_identity_authenticate(bench.registry, token, &identity) == 0;
}

void restore_leaves_revoked_what_was(void)
{
	char token[REGISTRY_TOKEN_SIZE], kept[REGISTRY_TOKEN_SIZE], id[24];

	bench_acme();
	make_user("root", "\"role\":\"admin\"");
	make_user("leaver", "\"role\":\"operator\"");
	make_user("dev", "\"role\":\"developer\",\"tenant\":\"acme\"");
	make_user("demoted", "\"role\":\"admin\"");
	snprintf(id, sizeof id, "%llu", (unsigned long long)make_token("old", token));
	make_token("kept", kept);
	back_up();
	CHECK_EQ(bench_drop(REGISTRY_USER, NULL, "leaver", false), CODE_OK);
	CHECK_EQ(bench_put(REGISTRY_USER, NULL, "dev", "{\"password\":\"ba9876543210\"}"), CODE_OK);
	CHECK_EQ(bench_put(REGISTRY_USER, NULL, "demoted", "{\"role\":\"auditor\"}"), CODE_OK);
	CHECK_EQ(bench_drop(REGISTRY_TOKEN, NULL, id, false), CODE_OK);

	CHECK_EQ(restore(false, true), CODE_OK);
	CHECK_STR(listed("revoked", "user", "leaver"), "deleted");
	CHECK_STR(listed("revoked", "user", "dev"), "changed");
	CHECK_STR(listed("revoked", "user", "demoted"), "changed");
	CHECK_STR(listed("revoked", "token", "old"), "deleted");
	CHECK_EQ(json_array_size(json_object_get(bench.result.body, "revoked")), 4);
	CHECK(logs_in("dev", "ba9876543210")); // nothing was done

	CHECK_EQ(restore(false, false), CODE_OK);
	CHECK_EQ(bench_get(REGISTRY_USER, NULL, "leaver"), CODE_NOT_FOUND);
	CHECK(logs_in("dev", "ba9876543210") && !logs_in("dev", "0123456789ab"));
	CHECK_EQ(bench_get(REGISTRY_USER, NULL, "demoted"), CODE_OK);
	CHECK_STR(bench_text("role"), "auditor");
	CHECK(!gets_in(token) && gets_in(kept));
	CHECK_EQ(bench_first_bad(), 0);

	CHECK_EQ(restore(true, false), CODE_OK);
	CHECK(logs_in("leaver", "0123456789ab") && logs_in("dev", "0123456789ab"));
	CHECK_EQ(bench_get(REGISTRY_USER, NULL, "demoted"), CODE_OK);
	CHECK_STR(bench_text("role"), "admin");
	CHECK(gets_in(token) && gets_in(kept));
	CHECK_EQ(bench_first_bad(), 0);
	bench_end();
}

static bool is_in(uint64_t proxy)
{
	static const uint8_t key[REGISTRY_KEY_HASH] = {1};
	struct registry_proxy found;

	return registry_proxies_find(bench.registry, proxy, key, &found) == 1;
}

static uint64_t make_proxy(const char *name)
{
	static const uint8_t key[REGISTRY_KEY_HASH] = {1};
	struct registry_proxy proxy;
	char body[64], token[64];

	snprintf(body, sizeof body, "{\"name\":\"%s\"}", name);
	CHECK_EQ(bench_create(REGISTRY_PROXY, NULL, body), CODE_OK);
	snprintf(token, sizeof token, "%s", bench_text("token"));
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_proxies_join(bench.registry, NULL, token, key, &proxy,
						     &bench.result)),
		 CODE_OK);
	return proxy.id;
}

void restore_lets_no_removed_proxy_in(void)
{
	uint64_t removed, kept;

	bench_acme();
	make_user("root", "\"role\":\"admin\"");
	removed = make_proxy("removed");
	kept = make_proxy("kept");
	back_up();
	CHECK_EQ(bench_drop(REGISTRY_PROXY, NULL, "removed", false), CODE_OK);
	CHECK_EQ(restore(false, false), CODE_OK);
	CHECK_STR(listed("revoked", "proxy", "removed"), "deleted");
	CHECK(!is_in(removed) && is_in(kept));
	CHECK_EQ(bench_first_bad(), 0);
	bench_end();
}

void restore_keeps_an_admin(void)
{
	bench_acme();
	make_user("first", "\"role\":\"admin\"");
	back_up();
	make_user("second", "\"role\":\"admin\"");
	CHECK_EQ(bench_drop(REGISTRY_USER, NULL, "first", false), CODE_OK);
	CHECK_EQ(restore(false, false), CODE_CONFLICT);
	CHECK_EQ(bench_get(REGISTRY_USER, NULL, "second"), CODE_OK);
	CHECK_EQ(restore(true, false), CODE_OK);
	CHECK(logs_in("first", "0123456789ab"));
	bench_end();
}

// Until when the platform may, as the tenant says; 0: it may not.
static json_int_t leave_of(const char *tenant)
{
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_operator_access(bench.registry, tenant, &bench.result)),
		 CODE_OK);
	return bench_number("granted_until_ms");
}

void restore_keeps_what_a_tenant_allows(void)
{
	bench_acme();
	make_user("boss", "\"role\":\"tenant_admin\",\"tenant\":\"acme\"");
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_operator_access_grant(bench.registry, &bench_ann, "acme",
							      3600000, "why", &bench.result)),
		 CODE_OK);
	back_up();
	CHECK(logs_in("boss", "0123456789ab")); // from now on the tenant guards itself
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_operator_access_withdraw(bench.registry, &bench_ann, "acme",
								 &bench.result)),
		 CODE_OK);
	CHECK_EQ(restore(false, false), CODE_OK);
	CHECK_STR(listed("revoked", "operator_access", "acme"), "withdrawn");
	CHECK_EQ(leave_of("acme"), 0);
	CHECK(bench_number("guarded_since_ms") > 0);
	CHECK_EQ(restore(true, false), CODE_OK);
	CHECK(leave_of("acme") > 0);
	CHECK(bench_number("guarded_since_ms") > 0);
	bench_end();
}

// Topic, group and tenant of a name were deleted, and others made: these hold what is stored now.
void restore_of_names_that_were_given_anew(void)
{
	uint64_t topic, tenant;
	char kept[40];

	bench_acme_with_group();
	CHECK_EQ(bench_create(REGISTRY_TENANT, NULL, "{\"name\":\"old\",\"clusters\":[\"local\"]}"),
		 CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "old", "{\"name\":\"t\"}"), CODE_OK);
	bench_settle();
	back_up();
	CHECK_EQ(bench_drop(REGISTRY_TOPIC, "acme", "orders", true), CODE_OK);
	CHECK_EQ(bench_drop(REGISTRY_TENANT, NULL, "old", true), CODE_OK);
	bench_settle();
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"orders\"}"), CODE_OK);
	topic = (uint64_t)bench_number("id");
	CHECK_EQ(bench_create(REGISTRY_TENANT, NULL, "{\"name\":\"old\",\"clusters\":[\"local\"]}"),
		 CODE_OK);
	tenant = (uint64_t)bench_number("id");
	snprintf(kept, sizeof kept, "restored-%llu", (unsigned long long)tenant);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "old", "{\"name\":\"t\"}"), CODE_OK);
	bench_settle();
	CHECK_EQ(restore(false, false), CODE_OK);
	CHECK(listed("topics", "topic", "orders") != NULL);
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_EQ(bench_number("id"), topic);
	CHECK_STR(bench_text("state"), "failed");
	CHECK_EQ(bench_get(REGISTRY_GROUP, "acme", "billing"), CODE_NOT_FOUND);
	// The tenant of the copy has its name; the other is there, suspended, with its topic.
	CHECK(bench_id(REGISTRY_TENANT, NULL, "old") != tenant);
	CHECK_STR(registry_lookup_name(bench.registry, REGISTRY_TENANT, tenant), kept);
	CHECK_EQ(bench_get(REGISTRY_TENANT, NULL, kept), CODE_OK);
	CHECK(json_is_true(json_object_get(bench.result.body, "suspended")));
	CHECK_EQ(bench_get(REGISTRY_TOPIC, kept, "t"), CODE_OK);
	CHECK_STR(bench_text("state"), "failed");
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "old", "t"), CODE_OK);
	CHECK(strstr(bench_text("state_reason"), "deleted after the backup"));
	bench_catalog_follows();
	bench_end();
}

// Nothing reads it on the way, so that only a look at the whole finds it.
static void damage_an_index(void)
{
	bench_sql("PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE rowid = (SELECT "
		  "max(rowid) FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL)");
}

void restore_ends_what_was_damaged(void)
{
	bench_acme();
	back_up();
	CHECK_EQ(registry_scrub_start(bench.registry), 0);
	damage_an_index();
	CHECK(!registry_scrub(bench.registry));
	registry_scrub_again(bench.registry);
	for (unsigned i = 0; i < 6000 && !registry_scrub_damaged(bench.registry); ++i)
		usleep(10000);
	CHECK(registry_scrub_damaged(bench.registry));
	CHECK_EQ(restore(false, false), CODE_OK);
	CHECK(!registry_scrub_damaged(bench.registry)); // not at the next look, a day later
	CHECK(registry_scrub(bench.registry));
	bench_end();
}
