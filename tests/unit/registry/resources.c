// Resources with their rules, secrets and access keys.

#include "tests/unit/registry/cases.h"

#include "core/net/scram.h"
#include "core/registry/lifecycle.h"
#include "core/registry/lookup.h"
#include "core/registry/resource.h"
#include "core/registry/rotate.h"
#include "tests/unit/registry/bench.h"

#include <errno.h>

void resource_life(void)
{
	bench_acme();
	CHECK_EQ(bench_create(REGISTRY_TENANT, NULL, "{\"name\":\"acme\"}"), CODE_CONFLICT);
	CHECK_EQ(bench_create(REGISTRY_TENANT, NULL, "{\"name\":\"x\",\"limits\":{\"over\":1}}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(json_array_size(bench.result.errors), 1);
	CHECK_EQ(bench_get(REGISTRY_TENANT, NULL, "acme"), CODE_OK);
	CHECK_EQ(bench.result.revision, 2);
	CHECK_EQ(bench_number("revision"), 2);
	CHECK_EQ(bench_get(REGISTRY_TENANT, NULL, "nobody"), CODE_NOT_FOUND);

	CHECK_EQ(bench_put(REGISTRY_TENANT, NULL, "acme", "{\"limits\":{\"produce_tps\":5}}"),
		 CODE_OK);
	CHECK(!bench.result.created);
	CHECK_EQ(bench.result.revision, 3);
	CHECK_EQ(bench_put(REGISTRY_TENANT, NULL, "acme", "{\"limits\":{\"produce_tps\":5}}"),
		 CODE_OK);
	CHECK_EQ(bench.result.revision, 3); // the same again changes nothing
	CHECK_EQ(registry_revision(bench.registry), 3);
	CHECK_EQ(bench_put_match(REGISTRY_TENANT, NULL, "acme", 2, "{}"), CODE_PRECONDITION_FAILED);
	CHECK_EQ(bench_put_match(REGISTRY_TENANT, NULL, "acme", 3, "{\"suspended\":true}"),
		 CODE_OK);
	CHECK_EQ(bench_put_match(REGISTRY_TENANT, NULL, "new", REGISTRY_MATCH_ANY, "{}"),
		 CODE_PRECONDITION_FAILED);
	CHECK_EQ(bench_put(REGISTRY_TENANT, NULL, "new", "{}"), CODE_OK);
	CHECK(bench.result.created);
	CHECK_EQ(bench_put(REGISTRY_TENANT, NULL, "new", "{\"name\":\"new\"}"), CODE_BAD_REQUEST);
	bench_catalog_follows();
	bench_end();
}

void topics_and_groups(void)
{
	const struct group *group;
	const struct topic *topic;

	bench_acme_with_group();
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_STR(bench_text("state"), "ready");
	CHECK_STR(bench_text("cluster"), "local");
	CHECK(strncmp(bench_text("physical"), "mqp.acme.orders-3-", 18) == 0);
	CHECK_EQ(bench_get(REGISTRY_GROUP, "acme", "billing"), CODE_OK);
	CHECK_STR(bench_text("dead_letter_topic"), "billing.dead");
	CHECK(json_object_get(json_object_get(bench.result.body, "start"), "time_ms") == NULL);
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "billing.dead"), CODE_OK);
	CHECK_STR(bench_text("dead_letter_of"), "billing");

	bench_catalog_follows();
	group = catalog_group_by_name(bench.catalog, 2, "billing");
	topic = catalog_topic(bench.catalog, group->dead_letter);
	CHECK_EQ(group->state, MODEL_READY);
	CHECK_EQ(topic->dead_letter_of, group->object.id);
	CHECK_EQ(topic->durability, DURABILITY_D2);
	model_unref(group);
	model_unref(topic);
	CHECK_STR(registry_lookup_name(bench.registry, REGISTRY_GROUP,
				       bench_id(REGISTRY_GROUP, "acme", "billing")),
		  "billing");

	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"retention_ms\":0}"), CODE_OK);
	CHECK_EQ(bench_put(REGISTRY_GROUP, "acme", "billing", "{\"dead_letter\":false}"),
		 CODE_CONFLICT);
	CHECK_EQ(bench_put(REGISTRY_GROUP, "acme", "billing", "{\"max_attempts\":3}"), CODE_OK);
	CHECK_EQ(bench_number("max_attempts"), 3);
	CHECK_EQ(bench_create(REGISTRY_GROUP, "acme", "{\"name\":\"g\",\"topic\":\"nothing\"}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "nobody", "orders"), CODE_NOT_FOUND);
	bench_end();
}

// The number changes when the backend has the partitions, and not when it refuses.
void topics_grow(void)
{
	struct registry_lifecycle_pending pending[4];
	const struct topic *topic;
	size_t count;

	bench_acme_with_group();
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"partitions\":2}"), CODE_CONFLICT);
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"partitions\":6}"), CODE_OK);
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"partitions\":5}"), CODE_OK);
	CHECK_EQ(bench_number("partitions"), 4);
	CHECK_EQ(bench_number("growing_to"), 6);
	CHECK_EQ(registry_lifecycle_pending(bench.registry, pending, 4, &count), 0);
	CHECK_EQ(count, 1);
	CHECK_EQ(pending[0].partitions, 6);
	CHECK_EQ(registry_lifecycle_settle(bench.registry, &pending[0], CODE_BACKEND_DOWN, "away",
					   false),
		 0);
	CHECK_EQ(registry_lifecycle_settle(bench.registry, &pending[0], CODE_OK, NULL, false), 0);
	CHECK_EQ(registry_lifecycle_pending(bench.registry, pending, 4, &count), 0);
	CHECK_EQ(count, 0);
	bench_catalog_follows();
	topic = catalog_topic_by_name(bench.catalog, 2, "orders");
	CHECK_EQ(topic->partitions, 6);
	CHECK_EQ(topic->state, MODEL_READY);
	model_unref(topic);
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"partitions\":7}"), CODE_OK);
	CHECK_EQ(registry_lifecycle_pending(bench.registry, pending, 4, &count), 0);
	CHECK_EQ(registry_lifecycle_settle(bench.registry, &pending[0], CODE_LIMIT_EXCEEDED, "no",
					   true),
		 0);
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_EQ(bench_number("partitions"), 6);
	CHECK_STR(bench_text("state"), "ready");
	CHECK_STR(bench_text("state_reason"), "no");
	bench_end();
}

void copies_of_a_topic(void)
{
	const struct topic *topic;

	bench_acme();
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme",
			      "{\"name\":\"orders\",\"replication\":2,\"min_insync\":3}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"orders\",\"replication\":0}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme",
			      "{\"name\":\"orders\",\"replication\":3,\"min_insync\":2}"),
		 CODE_OK);
	CHECK_EQ(bench_number("replication"), 3);
	CHECK_EQ(bench_number("min_insync"), 2);
	CHECK_EQ(
		bench_create(REGISTRY_GROUP, "acme", "{\"name\":\"billing\",\"topic\":\"orders\"}"),
		CODE_OK);
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"replication\":2}"), CODE_CONFLICT);
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"min_insync\":null}"),
		 CODE_CONFLICT);
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"replication\":3}"), CODE_OK);
	bench_catalog_follows();
	topic = catalog_topic_by_name(bench.catalog, 2, "billing.dead");
	CHECK_EQ(topic->replication, 3); // as safe as the messages were
	CHECK_EQ(topic->min_insync, 2);
	model_unref(topic);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"other\",\"replication\":null}"),
		 CODE_OK);
	CHECK(json_is_null(json_object_get(bench.result.body, "replication")));
	bench_end();
}

// It counts at once; what the backend keeps of it is told until it has taken the last of it.
void changes_are_told(void)
{
	struct registry_lifecycle_pending pending[4], first;
	size_t count;

	bench_acme_with_group();
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"retention_ms\":1000}"), CODE_OK);
	CHECK_EQ(bench_number("retention_ms"), 1000);
	CHECK_EQ(registry_lifecycle_pending(bench.registry, &first, 1, &count), 0);
	CHECK_EQ(count, 1);
	CHECK_EQ(first.revision, registry_revision(bench.registry));
	CHECK_EQ(first.partitions, 0);
	CHECK_EQ(
		registry_lifecycle_settle(bench.registry, &first, CODE_BACKEND_DOWN, "away", false),
		0);
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_STR(bench_text("state"), "ready");
	CHECK_STR(bench_text("state_reason"), "away");
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"message_bytes\":4096}"), CODE_OK);
	// The answer to what was asked before says nothing of what came since.
	CHECK_EQ(registry_lifecycle_settle(bench.registry, &first, CODE_OK, NULL, false), 0);
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"partitions\":6}"), CODE_OK);
	CHECK_EQ(registry_lifecycle_pending(bench.registry, pending, 4, &count), 0);
	CHECK_EQ(count, 1); // one query a topic
	CHECK(pending[0].revision > first.revision && pending[0].partitions == 6);
	CHECK_EQ(registry_lifecycle_settle(bench.registry, &pending[0], CODE_LIMIT_EXCEEDED, "no",
					   true),
		 0);
	CHECK_EQ(registry_lifecycle_pending(bench.registry, pending, 4, &count), 0);
	CHECK_EQ(count, 1); // the growth is given up, the rest is not
	CHECK_EQ(pending[0].partitions, 0);
	CHECK_EQ(registry_lifecycle_settle(bench.registry, &pending[0], CODE_OK, NULL, false), 0);
	CHECK_EQ(registry_lifecycle_pending(bench.registry, pending, 4, &count), 0);
	CHECK_EQ(count, 0);
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{\"retention_bytes\":1}"), CODE_OK);
	CHECK_EQ(registry_lifecycle_pending(bench.registry, pending, 4, &count), 0);
	CHECK_EQ(registry_lifecycle_settle(bench.registry, &pending[0], CODE_BAD_REQUEST, "never",
					   true),
		 0);
	CHECK_EQ(registry_lifecycle_pending(bench.registry, pending, 4, &count), 0);
	CHECK_EQ(count, 0);
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_STR(bench_text("state_reason"), "never");
	CHECK_STR(bench_text("state"), "ready");
	bench_end();
}

void group_rules(void)
{
	bench_acme();
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_GROUP, "acme",
			      "{\"name\":\"a\",\"topic\":\"t\",\"dead_letter\":false,"
			      "\"max_attempts\":5,\"start\":{\"from\":\"time\",\"time_ms\":0}}"),
		 CODE_OK);
	CHECK_EQ(bench_number("max_attempts"), 0);
	CHECK(json_is_integer(
		json_object_get(json_object_get(bench.result.body, "start"), "time_ms")));
	CHECK(bench_id(REGISTRY_TOPIC, "acme", "a.dead") == 0);
	CHECK_EQ(bench_create(REGISTRY_GROUP, "acme",
			      "{\"name\":\"b\",\"topic\":\"t\",\"start\":{\"from\":\"time\"}}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(bench_create(REGISTRY_GROUP, "acme",
			      "{\"name\":\"b\",\"topic\":\"t\",\"start\":{\"from\":\"latest\","
			      "\"time_ms\":1}}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"c.dead\"}"), CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_GROUP, "acme", "{\"name\":\"c\",\"topic\":\"t\"}"),
		 CODE_CONFLICT);
	CHECK_EQ(bench_create(
			 REGISTRY_GROUP, "acme",
			 "{\"topic\":\"t\",\"name\":\"01234567890123456789012345678901234567890123"
			 "4567890123456789\"}"),
		 CODE_BAD_REQUEST);
	CHECK(strstr(bench.result.text, "wrong") && bench.result.errors);
	// A group may read dead letters.
	CHECK_EQ(bench_create(REGISTRY_GROUP, "acme", "{\"name\":\"d\",\"topic\":\"c.dead\"}"),
		 CODE_OK);
	bench_end();
}

// What is said about the start, and what the answer says.
static void make_group(const char *name, const char *topic, const char *start, enum code code,
		       const char *from)
{
	char body[128];

	snprintf(body, sizeof body, "{\"name\":\"%s\",\"topic\":\"%s\"%s}", name, topic, start);
	CHECK_EQ(bench_create(REGISTRY_GROUP, "acme", body), code);
	if (code != CODE_OK)
		return;
	CHECK_STR(json_string_value(
			  json_object_get(json_object_get(bench.result.body, "start"), "from")),
		  from);
}

void starts_of_groups(void)
{
	bench_acme();
	CHECK_EQ(bench_create(REGISTRY_CLUSTER, NULL, "{\"name\":\"queue\",\"kind\":\"embedded\"}"),
		 CODE_OK);
	CHECK_EQ(bench_put(REGISTRY_TENANT, NULL, "acme", "{\"clusters\":[\"local\",\"queue\"]}"),
		 CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"log\"}"), CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"q\",\"cluster\":\"queue\"}"),
		 CODE_OK);
	make_group("a", "log", "", CODE_OK, "earliest");
	make_group("b", "log", ",\"start\":{\"from\":\"latest\"}", CODE_OK, "latest");
	make_group("c", "q", "", CODE_OK, "latest");
	make_group("d", "q", ",\"start\":{\"from\":\"latest\"}", CODE_OK, "latest");
	make_group("e", "q", ",\"start\":{\"from\":\"earliest\"}", CODE_UNSUPPORTED_BY_BACKEND,
		   NULL);
	make_group("e", "q", ",\"start\":{\"from\":\"time\",\"time_ms\":1}",
		   CODE_UNSUPPORTED_BY_BACKEND, NULL);
	make_group("e.dead", "q", ",\"start\":{\"from\":\"latest\"}", CODE_OK, "latest");
	CHECK_EQ(bench_put(REGISTRY_GROUP, "acme", "c", "{\"visibility_ms\":60000}"), CODE_OK);
	CHECK_STR(json_string_value(
			  json_object_get(json_object_get(bench.result.body, "start"), "from")),
		  "latest");
	bench_end();
}

void limits_of_a_tenant(void)
{
	bench_acme();
	CHECK_EQ(bench_put(REGISTRY_TENANT, NULL, "acme",
			   "{\"limits\":{\"topics\":1,\"groups\":1}}"),
		 CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"a\"}"), CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_GROUP, "acme", "{\"name\":\"g\",\"topic\":\"a\"}"), CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"b\"}"), CODE_LIMIT_EXCEEDED);
	CHECK_EQ(bench_create(REGISTRY_GROUP, "acme", "{\"name\":\"h\",\"topic\":\"a\"}"),
		 CODE_LIMIT_EXCEEDED);
	bench_end();
}

void clusters_bound(void)
{
	bench_acme();
	CHECK_EQ(bench_create(REGISTRY_CLUSTER, NULL, "{\"name\":\"k\",\"kind\":\"kafka\"}"),
		 CODE_BAD_REQUEST);
	CHECK(strstr(bench.result.text, "no such kind"));
	CHECK_EQ(bench_create(REGISTRY_CLUSTER, NULL, "{\"name\":\"weak\",\"kind\":\"embedded\"}"),
		 CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\",\"cluster\":\"weak\"}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(bench_put(REGISTRY_TENANT, NULL, "acme", "{\"clusters\":[\"local\",\"weak\"]}"),
		 CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme",
			      "{\"name\":\"t\",\"cluster\":\"weak\",\"durability\":\"D2\"}"),
		 CODE_UNSUPPORTED_BY_BACKEND);
	CHECK(strstr(bench.result.text, "class D1 only"));
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\",\"cluster\":\"weak\"}"),
		 CODE_OK);
	CHECK_STR(bench_text("durability"), "D1"); // the best it has
	CHECK_EQ(bench_put(REGISTRY_TENANT, NULL, "acme", "{\"clusters\":[\"local\"]}"),
		 CODE_IN_USE);
	CHECK_EQ(bench_create(REGISTRY_TENANT, NULL, "{\"name\":\"bare\"}"), CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "bare", "{\"name\":\"t\"}"), CODE_CONFLICT);
	CHECK_EQ(bench_put(REGISTRY_CLUSTER, NULL, "weak", "{\"exclusive_tenant\":\"bare\"}"),
		 CODE_IN_USE);
	CHECK_EQ(bench_put(REGISTRY_CLUSTER, NULL, "weak", "{\"exclusive_tenant\":\"acme\"}"),
		 CODE_OK);
	CHECK_EQ(bench_put(REGISTRY_TENANT, NULL, "bare", "{\"clusters\":[\"weak\"]}"),
		 CODE_BAD_REQUEST);
	bench_end();
}

// Two installations on one backend: the same tenant, topic and id, another name.
void physical_names_tell_registries_apart(void)
{
	char first[MODEL_PHYSICAL_MAX + 1];

	bench_acme_with_group();
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	snprintf(first, sizeof first, "%s", bench_text("physical"));
	bench_end();
	bench_acme_with_group();
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK(strncmp(first, bench_text("physical"), 18) == 0 &&
	      strcmp(first, bench_text("physical")) != 0);
	bench_end();
}

void credentials_stay_secret(void)
{
	static const struct seal_key other = {{1}};
	struct registry_config config = {.path = bench.db_path, .key = &other};
	struct registry *stranger;
	const struct cluster *cluster;
	char *error;

	bench_begin();
	CHECK_EQ(bench_create(REGISTRY_CLUSTER, NULL,
			      "{\"name\":\"c\",\"kind\":\"embedded\",\"secrets\":{\"password\":"
			      "\"open-sesame\"}}"),
		 CODE_OK);
	CHECK(json_is_true(json_object_get(bench.result.body, "has_secrets")));
	CHECK(json_object_get(bench.result.body, "secrets") == NULL);
	cluster = catalog_cluster(bench.catalog, 1);
	CHECK_STR(cluster->secrets_json, "{\"password\":\"open-sesame\"}");
	model_unref(cluster);
	CHECK_EQ(bench_put(REGISTRY_CLUSTER, NULL, "c", "{\"secrets\":{\"password\":\"other\"}}"),
		 CODE_OK);
	CHECK_EQ(bench.result.revision, 2);
	registry_close(bench.registry);
	CHECK_EQ(registry_open(&config, &stranger, &error), -EKEYREJECTED);
	CHECK(strstr(error, "does not open"));
	free(error);
	CHECK(!bench_file_holds(bench.db_path, "sesame") &&
	      !bench_file_holds(bench.copy_path, "sesame"));
	bench_reopen();
	CHECK_EQ(bench_put(REGISTRY_CLUSTER, NULL, "c", "{\"secrets\":null}"), CODE_OK);
	CHECK(json_is_false(json_object_get(bench.result.body, "has_secrets")));
	bench_end();
}

// ---- access keys

// By the code that proxies check proofs with.
static bool verifier_fits(const struct access_key *access_key, const char *secret)
{
	struct scram_verifier verifier;

	CHECK_EQ(scram_verifier_make(secret, access_key->salt, access_key->salt_count, &verifier),
		 0);
	return memcmp(verifier.stored_key, access_key->stored_key, 32) == 0 &&
	       memcmp(verifier.server_key, access_key->server_key, 32) == 0;
}

void access_keys(void)
{
	char first[64], second[64], secret[64];
	const struct access_key *access_key;

	bench_acme();
	CHECK_EQ(bench_create(REGISTRY_ACCESS_KEY, "acme",
			      "{\"grants\":[{\"pattern\":\"*\",\"rights\":[\"produce\"]}],"
			      "\"description\":\"shop\"}"),
		 CODE_OK);
	snprintf(first, sizeof first, "%s", bench_text("key_id"));
	snprintf(secret, sizeof secret, "%s", bench_text("secret"));
	CHECK_EQ(strlen(secret), 43);
	access_key = catalog_key_by_id(bench.catalog, first);
	CHECK(verifier_fits(access_key, secret));
	CHECK(!verifier_fits(access_key, first));
	model_unref(access_key);
	CHECK(!bench_file_holds(bench.db_path, secret) &&
	      !bench_file_holds(bench.wal_path, secret));
	CHECK_EQ(bench_get(REGISTRY_ACCESS_KEY, "acme", first), CODE_OK);
	CHECK(json_object_get(bench.result.body, "secret") == NULL);
	CHECK_STR(bench_text("description"), "shop");

	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_rotate_key(bench.registry, &bench_ann, "acme", first, 1000,
						   &bench.result)),
		 CODE_OK);
	snprintf(second, sizeof second, "%s", bench_text("key_id"));
	CHECK(strcmp(second, first) != 0 && bench_text("secret"));
	CHECK_EQ(json_array_size(json_object_get(bench.result.body, "grants")), 1);
	CHECK_EQ(bench_get(REGISTRY_ACCESS_KEY, "acme", first), CODE_OK);
	CHECK_EQ(bench_number("expires_ms"), bench.now_ms + 1000);
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_rotate_key(bench.registry, &bench_ann, "acme", second, 1000,
						   &bench.result)),
		 CODE_CONFLICT);
	bench.now_ms += 1000; // the first has expired
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_rotate_key(bench.registry, &bench_ann, "acme", second, 1000,
						   &bench.result)),
		 CODE_OK);

	CHECK_EQ(bench_put(REGISTRY_ACCESS_KEY, "acme", first, "{\"disabled\":true}"), CODE_OK);
	CHECK_EQ(bench_put(REGISTRY_ACCESS_KEY, "acme", "AKnone", "{}"), CODE_NOT_FOUND);
	CHECK_EQ(bench_drop(REGISTRY_ACCESS_KEY, "acme", first, false), CODE_OK);
	CHECK(catalog_key_by_id(bench.catalog, first) == NULL);
	bench_catalog_follows();
	bench_end();
}
