// core/registry: resources with their rules, identities, audit, definitions, backup, the life of
// topics and groups, and what reaches the catalog.

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/net/scram.h"
#include "core/registry/ask.h"
#include "core/registry/catalog.h"
#include "core/registry/change.h"
#include "core/registry/reconcile.h"
#include "core/registry/registry.h"
#include "core/registry/schema.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const struct seal_key key = {{7, 7, 7}};
static const struct registry_actor ann = {.name = "user:ann", .address = "127.0.0.1"};
static char directory[64];
static char db_path[80], wal_path[96], shm_path[96], copy_path[80], backup_path[80];
static int64_t now_ms = 1700000000000;
static struct catalog *catalog;
static struct registry *registry;
static struct registry_result result;

// ---- the ground

static int64_t test_now(void)
{
	return now_ms;
}

static void drop_line(void *ctx, enum log_level level, const char *line, size_t size)
{
	(void)ctx;
	(void)level;
	(void)line;
	(void)size;
}

static enum code vet(void *ctx, const struct model_object *draft, const struct cluster *cluster,
		     char **ret_text)
{
	const struct topic *topic = (const struct topic *)draft;

	(void)ctx;
	if (draft->kind == MODEL_CLUSTER &&
	    strcmp(((const struct cluster *)draft)->kind, "embedded") != 0) {
		*ret_text = strdup("there is no such kind of backend");
		return CODE_BAD_REQUEST;
	}
	if (draft->kind == MODEL_TOPIC && topic->durability == DURABILITY_D2 &&
	    strcmp(cluster->name, "weak") == 0) {
		*ret_text = strdup("the cluster keeps class D1 only");
		return CODE_UNSUPPORTED_BY_BACKEND;
	}
	return CODE_OK;
}

static enum durability durability(void *ctx, const struct topic *topic,
				  const struct cluster *cluster)
{
	return strcmp(cluster->name, "weak") == 0 ? DURABILITY_D1 : DURABILITY_D2;
}

static int try_open(char **ret_error)
{
	struct registry_config config = {.path = db_path,
					 .key = &key,
					 .catalog = catalog,
					 .vet = vet,
					 .durability = durability,
					 .now_ms = test_now};

	return registry_open(&config, &registry, ret_error);
}

static void reopen(void)
{
	char *error;

	if (try_open(&error) < 0) {
		CHECK_STR(error, "");
	}
}

static void begin(void)
{
	CHECK_EQ(catalog_new(copy_path, &key, &catalog), 0);
	reopen();
}

static void end(void)
{
	registry_result_deinit(&result);
	registry_close(registry);
	catalog_free(catalog);
	registry = NULL;
	unlink(db_path);
	unlink(wal_path);
	unlink(shm_path);
	unlink(copy_path);
	unlink(backup_path);
}

// ---- short ways to call

static enum code outcome(int r)
{
	CHECK_EQ(r, 0);
	return result.code;
}

static enum code create(enum registry_kind kind, const char *tenant, const char *text)
{
	json_t *body = json_loads(text, 0, NULL);
	int r;

	CHECK(body != NULL);
	registry_result_deinit(&result);
	r = registry_create(registry, &ann, kind, tenant, body, &result);
	json_decref(body);
	return outcome(r);
}

static enum code put_match(enum registry_kind kind, const char *tenant, const char *name,
			   uint64_t match, const char *text)
{
	struct registry_ref ref = {kind, tenant, name};
	json_t *body = json_loads(text, 0, NULL);
	int r;

	CHECK(body != NULL);
	registry_result_deinit(&result);
	r = registry_put(registry, &ann, &ref, match, body, &result);
	json_decref(body);
	return outcome(r);
}

static enum code put(enum registry_kind kind, const char *tenant, const char *name,
		     const char *text)
{
	return put_match(kind, tenant, name, REGISTRY_MATCH_NONE, text);
}

static enum code get(enum registry_kind kind, const char *tenant, const char *name)
{
	struct registry_ref ref = {kind, tenant, name};

	registry_result_deinit(&result);
	return outcome(registry_get(registry, &ref, &result));
}

static enum code drop(enum registry_kind kind, const char *tenant, const char *name, bool force)
{
	struct registry_ref ref = {kind, tenant, name};
	struct registry_delete how = {.force = force};

	registry_result_deinit(&result);
	return outcome(registry_delete(registry, &ann, &ref, &how, &result));
}

static const char *text_of(const char *member)
{
	return json_string_value(json_object_get(result.body, member));
}

static json_int_t number_of(const char *member)
{
	return json_integer_value(json_object_get(result.body, member));
}

static uint64_t id_of(enum registry_kind kind, const char *tenant, const char *name)
{
	struct registry_ref ref = {kind, tenant, name};

	return registry_id(registry, &ref);
}

// Every backend agrees at once.
static unsigned settle_all(void)
{
	struct registry_pending pending[16];
	unsigned settled = 0;
	size_t count;

	do {
		CHECK_EQ(registry_pending(registry, pending, 16, &count), 0);
		for (size_t i = 0; i < count; ++i, ++settled)
			CHECK_EQ(registry_settle(registry, &pending[i], CODE_OK, NULL, false), 0);
	} while (count);
	return settled;
}

static void acme(void)
{
	begin();
	CHECK_EQ(create(REGISTRY_CLUSTER, NULL, "{\"name\":\"local\",\"kind\":\"embedded\"}"),
		 CODE_OK);
	CHECK_EQ(create(REGISTRY_TENANT, NULL, "{\"name\":\"acme\",\"clusters\":[\"local\"]}"),
		 CODE_OK);
	registry_result_deinit(&result);
}

static void acme_with_group(void)
{
	acme();
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"orders\",\"partitions\":4}"), CODE_OK);
	CHECK_EQ(create(REGISTRY_GROUP, "acme", "{\"name\":\"billing\",\"topic\":\"orders\"}"),
		 CODE_OK);
	CHECK_EQ(settle_all(), 3);
	registry_result_deinit(&result);
}

static void catalog_follows(void)
{
	CHECK_EQ(catalog_revision(catalog), registry_revision(registry));
	CHECK(catalog_stored(catalog));
}

// ---- resources

static void resource_life(void)
{
	acme();
	CHECK_EQ(create(REGISTRY_TENANT, NULL, "{\"name\":\"acme\"}"), CODE_CONFLICT);
	CHECK_EQ(create(REGISTRY_TENANT, NULL, "{\"name\":\"x\",\"limits\":{\"over\":1}}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(json_array_size(result.errors), 1);
	CHECK_EQ(get(REGISTRY_TENANT, NULL, "acme"), CODE_OK);
	CHECK_EQ(result.revision, 2);
	CHECK_EQ(number_of("revision"), 2);
	CHECK_EQ(get(REGISTRY_TENANT, NULL, "nobody"), CODE_NOT_FOUND);

	CHECK_EQ(put(REGISTRY_TENANT, NULL, "acme", "{\"limits\":{\"produce_tps\":5}}"), CODE_OK);
	CHECK(!result.created);
	CHECK_EQ(result.revision, 3);
	CHECK_EQ(put(REGISTRY_TENANT, NULL, "acme", "{\"limits\":{\"produce_tps\":5}}"), CODE_OK);
	CHECK_EQ(result.revision, 3); // the same again changes nothing
	CHECK_EQ(registry_revision(registry), 3);
	CHECK_EQ(put_match(REGISTRY_TENANT, NULL, "acme", 2, "{}"), CODE_PRECONDITION_FAILED);
	CHECK_EQ(put_match(REGISTRY_TENANT, NULL, "acme", 3, "{\"suspended\":true}"), CODE_OK);
	CHECK_EQ(put_match(REGISTRY_TENANT, NULL, "new", REGISTRY_MATCH_ANY, "{}"),
		 CODE_PRECONDITION_FAILED);
	CHECK_EQ(put(REGISTRY_TENANT, NULL, "new", "{}"), CODE_OK);
	CHECK(result.created);
	CHECK_EQ(put(REGISTRY_TENANT, NULL, "new", "{\"name\":\"new\"}"), CODE_BAD_REQUEST);
	catalog_follows();
	end();
}

static void topics_and_groups(void)
{
	const struct group *group;
	const struct topic *topic;

	acme_with_group();
	CHECK_EQ(get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_STR(text_of("state"), "ready");
	CHECK_STR(text_of("cluster"), "local");
	CHECK(strncmp(text_of("physical"), "mqp.acme.orders-3-", 18) == 0);
	CHECK_EQ(get(REGISTRY_GROUP, "acme", "billing"), CODE_OK);
	CHECK_STR(text_of("dead_letter_topic"), "billing.dead");
	CHECK(json_object_get(json_object_get(result.body, "start"), "time_ms") == NULL);
	CHECK_EQ(get(REGISTRY_TOPIC, "acme", "billing.dead"), CODE_OK);
	CHECK_STR(text_of("dead_letter_of"), "billing");

	catalog_follows();
	group = catalog_group_by_name(catalog, 2, "billing");
	topic = catalog_topic(catalog, group->dead_letter);
	CHECK_EQ(group->state, MODEL_READY);
	CHECK_EQ(topic->dead_letter_of, group->object.id);
	CHECK_EQ(topic->durability, DURABILITY_D2);
	model_unref(group);
	model_unref(topic);
	CHECK_STR(registry_name(registry, REGISTRY_GROUP, id_of(REGISTRY_GROUP, "acme", "billing")),
		  "billing");

	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"retention_ms\":0}"), CODE_OK);
	CHECK_EQ(put(REGISTRY_GROUP, "acme", "billing", "{\"dead_letter\":false}"), CODE_CONFLICT);
	CHECK_EQ(put(REGISTRY_GROUP, "acme", "billing", "{\"max_attempts\":3}"), CODE_OK);
	CHECK_EQ(number_of("max_attempts"), 3);
	CHECK_EQ(create(REGISTRY_GROUP, "acme", "{\"name\":\"g\",\"topic\":\"nothing\"}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(get(REGISTRY_TOPIC, "nobody", "orders"), CODE_NOT_FOUND);
	end();
}

// The number changes when the backend has the partitions, and not when it refuses.
static void topics_grow(void)
{
	struct registry_pending pending[4];
	const struct topic *topic;
	size_t count;

	acme_with_group();
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"partitions\":2}"), CODE_CONFLICT);
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"partitions\":6}"), CODE_OK);
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"partitions\":5}"), CODE_OK);
	CHECK_EQ(number_of("partitions"), 4);
	CHECK_EQ(number_of("growing_to"), 6);
	CHECK_EQ(registry_pending(registry, pending, 4, &count), 0);
	CHECK_EQ(count, 1);
	CHECK_EQ(pending[0].partitions, 6);
	CHECK_EQ(registry_settle(registry, &pending[0], CODE_BACKEND_DOWN, "away", false), 0);
	CHECK_EQ(registry_settle(registry, &pending[0], CODE_OK, NULL, false), 0);
	CHECK_EQ(registry_pending(registry, pending, 4, &count), 0);
	CHECK_EQ(count, 0);
	catalog_follows();
	topic = catalog_topic_by_name(catalog, 2, "orders");
	CHECK_EQ(topic->partitions, 6);
	CHECK_EQ(topic->state, MODEL_READY);
	model_unref(topic);
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"partitions\":7}"), CODE_OK);
	CHECK_EQ(registry_pending(registry, pending, 4, &count), 0);
	CHECK_EQ(registry_settle(registry, &pending[0], CODE_LIMIT_EXCEEDED, "no", true), 0);
	CHECK_EQ(get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_EQ(number_of("partitions"), 6);
	CHECK_STR(text_of("state"), "ready");
	CHECK_STR(text_of("state_reason"), "no");
	end();
}

static void copies_of_a_topic(void)
{
	const struct topic *topic;

	acme();
	CHECK_EQ(create(REGISTRY_TOPIC, "acme",
			"{\"name\":\"orders\",\"replication\":2,\"min_insync\":3}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"orders\",\"replication\":0}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme",
			"{\"name\":\"orders\",\"replication\":3,\"min_insync\":2}"),
		 CODE_OK);
	CHECK_EQ(number_of("replication"), 3);
	CHECK_EQ(number_of("min_insync"), 2);
	CHECK_EQ(create(REGISTRY_GROUP, "acme", "{\"name\":\"billing\",\"topic\":\"orders\"}"),
		 CODE_OK);
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"replication\":2}"), CODE_CONFLICT);
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"min_insync\":null}"), CODE_CONFLICT);
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"replication\":3}"), CODE_OK);
	catalog_follows();
	topic = catalog_topic_by_name(catalog, 2, "billing.dead");
	CHECK_EQ(topic->replication, 3); // as safe as the messages were
	CHECK_EQ(topic->min_insync, 2);
	model_unref(topic);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"other\",\"replication\":null}"),
		 CODE_OK);
	CHECK(json_is_null(json_object_get(result.body, "replication")));
	end();
}

// It counts at once; what the backend keeps of it is told until it has taken the last of it.
static void changes_are_told(void)
{
	struct registry_pending pending[4], first;
	size_t count;

	acme_with_group();
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"retention_ms\":1000}"), CODE_OK);
	CHECK_EQ(number_of("retention_ms"), 1000);
	CHECK_EQ(registry_pending(registry, &first, 1, &count), 0);
	CHECK_EQ(count, 1);
	CHECK_EQ(first.revision, registry_revision(registry));
	CHECK_EQ(first.partitions, 0);
	CHECK_EQ(registry_settle(registry, &first, CODE_BACKEND_DOWN, "away", false), 0);
	CHECK_EQ(get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_STR(text_of("state"), "ready");
	CHECK_STR(text_of("state_reason"), "away");
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"message_bytes\":4096}"), CODE_OK);
	// The answer to what was asked before says nothing of what came since.
	CHECK_EQ(registry_settle(registry, &first, CODE_OK, NULL, false), 0);
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"partitions\":6}"), CODE_OK);
	CHECK_EQ(registry_pending(registry, pending, 4, &count), 0);
	CHECK_EQ(count, 1); // one question a topic
	CHECK(pending[0].revision > first.revision && pending[0].partitions == 6);
	CHECK_EQ(registry_settle(registry, &pending[0], CODE_LIMIT_EXCEEDED, "no", true), 0);
	CHECK_EQ(registry_pending(registry, pending, 4, &count), 0);
	CHECK_EQ(count, 1); // the growth is given up, the rest is not
	CHECK_EQ(pending[0].partitions, 0);
	CHECK_EQ(registry_settle(registry, &pending[0], CODE_OK, NULL, false), 0);
	CHECK_EQ(registry_pending(registry, pending, 4, &count), 0);
	CHECK_EQ(count, 0);
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{\"retention_bytes\":1}"), CODE_OK);
	CHECK_EQ(registry_pending(registry, pending, 4, &count), 0);
	CHECK_EQ(registry_settle(registry, &pending[0], CODE_BAD_REQUEST, "never", true), 0);
	CHECK_EQ(registry_pending(registry, pending, 4, &count), 0);
	CHECK_EQ(count, 0);
	CHECK_EQ(get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_STR(text_of("state_reason"), "never");
	CHECK_STR(text_of("state"), "ready");
	end();
}

static void group_rules(void)
{
	acme();
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
	CHECK_EQ(create(REGISTRY_GROUP, "acme",
			"{\"name\":\"a\",\"topic\":\"t\",\"dead_letter\":false,"
			"\"max_attempts\":5,\"start\":{\"from\":\"time\",\"time_ms\":0}}"),
		 CODE_OK);
	CHECK_EQ(number_of("max_attempts"), 0);
	CHECK(json_is_integer(json_object_get(json_object_get(result.body, "start"), "time_ms")));
	CHECK(id_of(REGISTRY_TOPIC, "acme", "a.dead") == 0);
	CHECK_EQ(create(REGISTRY_GROUP, "acme",
			"{\"name\":\"b\",\"topic\":\"t\",\"start\":{\"from\":\"time\"}}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(create(REGISTRY_GROUP, "acme",
			"{\"name\":\"b\",\"topic\":\"t\",\"start\":{\"from\":\"latest\","
			"\"time_ms\":1}}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"c.dead\"}"), CODE_OK);
	CHECK_EQ(create(REGISTRY_GROUP, "acme", "{\"name\":\"c\",\"topic\":\"t\"}"), CODE_CONFLICT);
	CHECK_EQ(create(REGISTRY_GROUP, "acme",
			"{\"topic\":\"t\",\"name\":\"01234567890123456789012345678901234567890123"
			"4567890123456789\"}"),
		 CODE_BAD_REQUEST);
	CHECK(strstr(result.text, "wrong") && result.errors);
	// A group may read dead letters.
	CHECK_EQ(create(REGISTRY_GROUP, "acme", "{\"name\":\"d\",\"topic\":\"c.dead\"}"), CODE_OK);
	end();
}

static void limits_of_a_tenant(void)
{
	acme();
	CHECK_EQ(put(REGISTRY_TENANT, NULL, "acme", "{\"limits\":{\"topics\":1,\"groups\":1}}"),
		 CODE_OK);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"a\"}"), CODE_OK);
	CHECK_EQ(create(REGISTRY_GROUP, "acme", "{\"name\":\"g\",\"topic\":\"a\"}"), CODE_OK);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"b\"}"), CODE_LIMIT_EXCEEDED);
	CHECK_EQ(create(REGISTRY_GROUP, "acme", "{\"name\":\"h\",\"topic\":\"a\"}"),
		 CODE_LIMIT_EXCEEDED);
	end();
}

static void clusters_bound(void)
{
	acme();
	CHECK_EQ(create(REGISTRY_CLUSTER, NULL, "{\"name\":\"k\",\"kind\":\"kafka\"}"),
		 CODE_BAD_REQUEST);
	CHECK(strstr(result.text, "no such kind"));
	CHECK_EQ(create(REGISTRY_CLUSTER, NULL, "{\"name\":\"weak\",\"kind\":\"embedded\"}"),
		 CODE_OK);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\",\"cluster\":\"weak\"}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(put(REGISTRY_TENANT, NULL, "acme", "{\"clusters\":[\"local\",\"weak\"]}"),
		 CODE_OK);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme",
			"{\"name\":\"t\",\"cluster\":\"weak\",\"durability\":\"D2\"}"),
		 CODE_UNSUPPORTED_BY_BACKEND);
	CHECK(strstr(result.text, "class D1 only"));
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\",\"cluster\":\"weak\"}"), CODE_OK);
	CHECK_STR(text_of("durability"), "D1"); // the best it has
	CHECK_EQ(put(REGISTRY_TENANT, NULL, "acme", "{\"clusters\":[\"local\"]}"), CODE_IN_USE);
	CHECK_EQ(create(REGISTRY_TENANT, NULL, "{\"name\":\"bare\"}"), CODE_OK);
	CHECK_EQ(create(REGISTRY_TOPIC, "bare", "{\"name\":\"t\"}"), CODE_CONFLICT);
	CHECK_EQ(put(REGISTRY_CLUSTER, NULL, "weak", "{\"exclusive_tenant\":\"bare\"}"),
		 CODE_IN_USE);
	CHECK_EQ(put(REGISTRY_CLUSTER, NULL, "weak", "{\"exclusive_tenant\":\"acme\"}"), CODE_OK);
	CHECK_EQ(put(REGISTRY_TENANT, NULL, "bare", "{\"clusters\":[\"weak\"]}"), CODE_BAD_REQUEST);
	end();
}

static bool file_holds(const char *path, const char *text)
{
	static char bytes[8u << 20];
	int fd = open(path, O_RDONLY);
	ssize_t size;

	if (fd < 0)
		return false;
	size = pread(fd, bytes, sizeof bytes, 0);
	CHECK(size >= 0 && (size_t)size < sizeof bytes); // all of it
	close(fd);
	return memmem(bytes, (size_t)size, text, strlen(text)) != NULL;
}

// Two installations on one backend: the same tenant, topic and id, another name.
static void physical_names_tell_registries_apart(void)
{
	char first[MODEL_PHYSICAL_MAX + 1];

	acme_with_group();
	CHECK_EQ(get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	snprintf(first, sizeof first, "%s", text_of("physical"));
	end();
	acme_with_group();
	CHECK_EQ(get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK(strncmp(first, text_of("physical"), 18) == 0 &&
	      strcmp(first, text_of("physical")) != 0);
	end();
}

static void credentials_stay_secret(void)
{
	static const struct seal_key other = {{1}};
	struct registry_config config = {.path = db_path, .key = &other};
	struct registry *stranger;
	const struct cluster *cluster;
	char *error;

	begin();
	CHECK_EQ(create(REGISTRY_CLUSTER, NULL,
			"{\"name\":\"c\",\"kind\":\"embedded\",\"secrets\":{\"password\":"
			"\"open-sesame\"}}"),
		 CODE_OK);
	CHECK(json_is_true(json_object_get(result.body, "has_secrets")));
	CHECK(json_object_get(result.body, "secrets") == NULL);
	cluster = catalog_cluster(catalog, 1);
	CHECK_STR(cluster->secrets_json, "{\"password\":\"open-sesame\"}");
	model_unref(cluster);
	CHECK_EQ(put(REGISTRY_CLUSTER, NULL, "c", "{\"secrets\":{\"password\":\"other\"}}"),
		 CODE_OK);
	CHECK_EQ(result.revision, 2);
	registry_close(registry);
	CHECK_EQ(registry_open(&config, &stranger, &error), -EKEYREJECTED);
	CHECK(strstr(error, "does not open"));
	free(error);
	CHECK(!file_holds(db_path, "sesame") && !file_holds(copy_path, "sesame"));
	reopen();
	CHECK_EQ(put(REGISTRY_CLUSTER, NULL, "c", "{\"secrets\":null}"), CODE_OK);
	CHECK(json_is_false(json_object_get(result.body, "has_secrets")));
	end();
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

static void access_keys(void)
{
	char first[64], second[64], secret[64];
	const struct access_key *access_key;

	acme();
	CHECK_EQ(create(REGISTRY_ACCESS_KEY, "acme",
			"{\"grants\":[{\"pattern\":\"*\",\"rights\":[\"produce\"]}],"
			"\"description\":\"shop\"}"),
		 CODE_OK);
	snprintf(first, sizeof first, "%s", text_of("key_id"));
	snprintf(secret, sizeof secret, "%s", text_of("secret"));
	CHECK_EQ(strlen(secret), 43);
	access_key = catalog_key_by_id(catalog, first);
	CHECK(verifier_fits(access_key, secret));
	CHECK(!verifier_fits(access_key, first));
	model_unref(access_key);
	CHECK(!file_holds(db_path, secret) && !file_holds(wal_path, secret));
	CHECK_EQ(get(REGISTRY_ACCESS_KEY, "acme", first), CODE_OK);
	CHECK(json_object_get(result.body, "secret") == NULL);
	CHECK_STR(text_of("description"), "shop");

	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_key_rotate(registry, &ann, "acme", first, 1000, &result)),
		 CODE_OK);
	snprintf(second, sizeof second, "%s", text_of("key_id"));
	CHECK(strcmp(second, first) != 0 && text_of("secret"));
	CHECK_EQ(json_array_size(json_object_get(result.body, "grants")), 1);
	CHECK_EQ(get(REGISTRY_ACCESS_KEY, "acme", first), CODE_OK);
	CHECK_EQ(number_of("expires_ms"), now_ms + 1000);
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_key_rotate(registry, &ann, "acme", second, 1000, &result)),
		 CODE_CONFLICT);
	now_ms += 1000; // the first has expired
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_key_rotate(registry, &ann, "acme", second, 1000, &result)),
		 CODE_OK);

	CHECK_EQ(put(REGISTRY_ACCESS_KEY, "acme", first, "{\"disabled\":true}"), CODE_OK);
	CHECK_EQ(put(REGISTRY_ACCESS_KEY, "acme", "AKnone", "{}"), CODE_NOT_FOUND);
	CHECK_EQ(drop(REGISTRY_ACCESS_KEY, "acme", first, false), CODE_OK);
	CHECK(catalog_key_by_id(catalog, first) == NULL);
	catalog_follows();
	end();
}

// ---- deleting

static bool affects(const char *kind, const char *name)
{
	json_t *entry;
	size_t i;

	json_array_foreach(
		result.affected, i,
		entry) if (strcmp(json_string_value(json_object_get(entry, "kind")), kind) == 0 &&
			   strcmp(json_string_value(json_object_get(entry, "name")), name) ==
				   0) return true;
	return false;
}

static void deletion_in_use(void)
{
	struct registry_ref ref = {REGISTRY_TOPIC, "acme", "orders"};
	struct registry_delete how = {.preview = true};

	acme_with_group();
	CHECK_EQ(outcome(registry_delete(registry, &ann, &ref, &how, &result)), CODE_OK);
	CHECK(json_is_true(json_object_get(result.body, "in_use")));
	CHECK_EQ(json_array_size(result.affected), 3);
	CHECK_EQ(drop(REGISTRY_TOPIC, "acme", "orders", false), CODE_IN_USE);
	CHECK(affects("topic", "orders") && affects("group", "billing") &&
	      affects("topic", "billing.dead"));
	CHECK_EQ(drop(REGISTRY_TOPIC, "acme", "billing.dead", true), CODE_CONFLICT);
	CHECK_EQ(drop(REGISTRY_TOPIC, "acme", "orders", true), CODE_OK);
	CHECK_EQ(get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_STR(text_of("state"), "deleting");
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "orders", "{}"), CODE_NOT_READY);
	CHECK_EQ(drop(REGISTRY_TOPIC, "acme", "orders", false), CODE_OK); // again
	CHECK_EQ(settle_all(), 3);
	CHECK_EQ(get(REGISTRY_TOPIC, "acme", "orders"), CODE_NOT_FOUND);
	CHECK(id_of(REGISTRY_GROUP, "acme", "billing") == 0);
	CHECK(catalog_topic_by_name(catalog, 2, "orders") == NULL);
	catalog_follows();
	// A new life of the name is another topic.
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"orders\"}"), CODE_OK);
	CHECK(number_of("incarnation") > 3);
	end();
}

static void deletion_of_a_group(void)
{
	acme_with_group();
	CHECK_EQ(drop(REGISTRY_GROUP, "acme", "billing", false), CODE_OK);
	CHECK_EQ(settle_all(), 2);
	CHECK(id_of(REGISTRY_TOPIC, "acme", "billing.dead") == 0);
	CHECK(id_of(REGISTRY_TOPIC, "acme", "orders") != 0);
	end();
}

// A topic is asked away only when its groups are gone.
static void deletion_order(void)
{
	struct registry_pending pending[4];
	size_t count;

	acme_with_group();
	CHECK_EQ(drop(REGISTRY_TOPIC, "acme", "orders", true), CODE_OK);
	CHECK_EQ(registry_pending(registry, pending, 4, &count), 0);
	CHECK_EQ(count, 1);
	CHECK_EQ(pending[0].kind, REGISTRY_GROUP);
	CHECK(pending[0].deleting);
	CHECK_EQ(registry_settle(registry, &pending[0], CODE_BACKEND_DOWN, "away", true), 0);
	CHECK_EQ(get(REGISTRY_GROUP, "acme", "billing"), CODE_OK);
	CHECK_STR(text_of("state"), "deleting");
	CHECK_STR(text_of("state_reason"), "away");
	CHECK_EQ(settle_all(), 3);
	end();
}

static void deletion_of_a_tenant(void)
{
	acme_with_group();
	CHECK_EQ(create(REGISTRY_ACCESS_KEY, "acme", "{}"), CODE_OK);
	CHECK_EQ(drop(REGISTRY_TENANT, NULL, "acme", false), CODE_IN_USE);
	CHECK_EQ(json_array_size(result.affected), 5);
	CHECK_EQ(drop(REGISTRY_TENANT, NULL, "acme", true), CODE_OK);
	CHECK_EQ(get(REGISTRY_TENANT, NULL, "acme"), CODE_NOT_FOUND);
	CHECK_EQ(get(REGISTRY_TOPIC, "acme", "orders"), CODE_NOT_FOUND);
	CHECK_EQ(create(REGISTRY_TENANT, NULL, "{\"name\":\"acme\"}"), CODE_NOT_READY);
	CHECK_EQ(settle_all(), 3);
	CHECK(catalog_tenant(catalog, 2) == NULL);
	CHECK_EQ(create(REGISTRY_TENANT, NULL, "{\"name\":\"acme\"}"), CODE_OK);
	CHECK_EQ(drop(REGISTRY_TENANT, NULL, "acme", false), CODE_OK);
	CHECK_EQ(create(REGISTRY_TENANT, NULL, "{\"name\":\"acme\"}"), CODE_OK);
	end();
}

// More than one transaction takes: the rest goes in rounds, unreachable from the start.
static void deletion_of_a_large_tenant(void)
{
	json_t *document, *topics = json_array();
	char name[24];

	for (unsigned i = 0; i < 2500; ++i) {
		snprintf(name, sizeof name, "topic-%u", i);
		json_array_append_new(topics, json_pack("{s:s}", "name", name));
	}
	document = json_pack("{s:i, s:[{s:s, s:[s], s:o}]}", "format", 1, "tenants", "name", "acme",
			     "clusters", "local", "topics", topics);
	acme();
	CHECK_EQ(outcome(registry_import(registry, &ann, document, false, &result)), CODE_OK);
	json_decref(document);
	CHECK_EQ(create(REGISTRY_ACCESS_KEY, "acme", "{}"), CODE_OK);
	CHECK_EQ(drop(REGISTRY_TENANT, NULL, "acme", true), CODE_OK);
	CHECK_EQ(get(REGISTRY_TENANT, NULL, "acme"), CODE_NOT_FOUND);
	CHECK(settle_all() >= 2500); // a few were made ready before their turn came
	CHECK(catalog_tenant(catalog, 2) == NULL);
	CHECK(catalog_topic_by_name(catalog, 2, "topic-2499") == NULL);
	catalog_follows();
	end();
}

static void deletion_of_a_cluster(void)
{
	const struct tenant *tenant;

	acme_with_group();
	CHECK_EQ(drop(REGISTRY_CLUSTER, NULL, "local", false), CODE_IN_USE);
	CHECK_EQ(drop(REGISTRY_CLUSTER, NULL, "local", true), CODE_OK);
	tenant = catalog_tenant(catalog, 2);
	CHECK_EQ(tenant->cluster_count, 0);
	model_unref(tenant);
	CHECK_EQ(get(REGISTRY_CLUSTER, NULL, "local"), CODE_NOT_FOUND);
	CHECK_EQ(settle_all(), 3);
	CHECK(catalog_cluster(catalog, 1) == NULL);
	end();
}

// ---- lists

static unsigned count_pages(enum registry_kind kind, struct registry_query query, unsigned *pages)
{
	char cursor[600];
	unsigned items = 0;

	for (*pages = 0;; ++*pages) {
		registry_result_deinit(&result);
		CHECK_EQ(outcome(registry_list(registry, kind, &query, &result)), CODE_OK);
		items += (unsigned)json_array_size(json_object_get(result.body, "items"));
		if (!text_of("next"))
			return items;
		snprintf(cursor, sizeof cursor, "%s", text_of("next"));
		query.cursor = cursor;
	}
}

static enum code list(enum registry_kind kind, struct registry_query query)
{
	registry_result_deinit(&result);
	return outcome(registry_list(registry, kind, &query, &result));
}

static void lists(void)
{
	unsigned pages;
	char body[64];

	acme();
	for (unsigned i = 0; i < 25; ++i) {
		snprintf(body, sizeof body, "{\"name\":\"%s-%02u\"}", i % 2 ? "odd" : "even", i);
		CHECK_EQ(create(REGISTRY_TOPIC, "acme", body), CODE_OK);
	}
	CHECK_EQ(count_pages(REGISTRY_TOPIC, (struct registry_query){.tenant = "acme", .limit = 10},
			     &pages),
		 25);
	CHECK_EQ(pages, 2);
	CHECK_EQ(
		count_pages(REGISTRY_TOPIC,
			    (struct registry_query){.tenant = "acme", .limit = 12, .prefix = "odd"},
			    &pages),
		12);
	CHECK_EQ(pages, 0);
	CHECK_EQ(count_pages(REGISTRY_TOPIC,
			     (struct registry_query){.limit = 500, .state = "creating"}, &pages),
		 25);
	CHECK_EQ(count_pages(REGISTRY_TOPIC,
			     (struct registry_query){.limit = 500, .state = "ready"}, &pages),
		 0);
	CHECK_EQ(count_pages(REGISTRY_TOPIC,
			     (struct registry_query){.limit = 500, .cluster = "none"}, &pages),
		 0);
	CHECK_EQ(count_pages(REGISTRY_TOPIC,
			     (struct registry_query){.limit = 500, .cluster = "local"}, &pages),
		 25);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 0}), CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 501}), CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 1, .cursor = "!"}),
		 CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 1, .cursor = "YWJj"}),
		 CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 1, .state = "odd"}),
		 CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TENANT, (struct registry_query){.limit = 1, .state = "ready"}),
		 CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 1, .tenant = "nobody"}),
		 CODE_NOT_FOUND);
	CHECK_EQ(list(REGISTRY_TENANT, (struct registry_query){.limit = 50}), CODE_OK);
	CHECK_EQ(json_array_size(json_object_get(result.body, "items")), 1);
	end();
}

// ---- who calls

static void bootstrap_works_once(void)
{
	char token[REGISTRY_TOKEN_SIZE], other[REGISTRY_TOKEN_SIZE];
	struct registry_identity identity;

	begin();
	CHECK(!registry_bootstrapped(registry));
	CHECK_EQ(registry_bootstrap_token(registry, other), 0);
	CHECK_EQ(registry_bootstrap_token(registry, token), 0);
	CHECK_EQ(outcome(registry_bootstrap(registry, NULL, other, "ann", "correct horse battery",
					    &result)),
		 CODE_UNAUTHENTICATED);
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_bootstrap(registry, NULL, token, "ann", "short", &result)),
		 CODE_BAD_REQUEST);
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_bootstrap(registry, "10.0.0.1", token, "ann",
					    "correct horse battery", &result)),
		 CODE_OK);
	CHECK_EQ(registry_authenticate(registry, text_of("token"), &identity), 0);
	CHECK_EQ(identity.role, ROLE_ADMIN);
	CHECK(identity.session && identity.tenant == 0);
	CHECK_STR(identity.name, "ann");
	CHECK_EQ(registry_authenticate(registry, token, &identity), REGISTRY_E_UNKNOWN);
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_bootstrap(registry, NULL, token, "bob", "correct horse battery",
					    &result)),
		 CODE_CONFLICT);
	CHECK_EQ(registry_bootstrap_token(registry, token), REGISTRY_E_BOOTSTRAPPED);
	end();
}

static enum code login(const char *user, const char *password)
{
	struct registry_password check;

	registry_result_deinit(&result);
	CHECK_EQ(registry_password_look(registry, user, &check), 0);
	registry_password_compare(&check, password);
	return outcome(registry_login(registry, NULL, user, &check, &result));
}

static enum code change_password(const char *bearer, const char *old, const char *new)
{
	struct registry_password check;

	registry_result_deinit(&result);
	CHECK_EQ(registry_password_look(registry, "dev", &check), 0);
	registry_password_compare(&check, old);
	return outcome(registry_password_change(registry, &ann, bearer, &check, new, &result));
}

static void sessions(void)
{
	char one[REGISTRY_TOKEN_SIZE], two[REGISTRY_TOKEN_SIZE];
	struct registry_password before;
	struct registry_identity identity;

	acme();
	CHECK_EQ(create(REGISTRY_USER, NULL,
			"{\"name\":\"dev\",\"role\":\"developer\",\"password\":\"0123456789ab\"}"),
		 CODE_BAD_REQUEST); // of which tenant?
	CHECK_EQ(create(REGISTRY_USER, NULL,
			"{\"name\":\"dev\",\"role\":\"developer\",\"tenant\":\"acme\","
			"\"password\":\"0123456789ab\"}"),
		 CODE_OK);
	CHECK(text_of("password") == NULL);
	CHECK_EQ(login("dev", "0123456789ac"), CODE_UNAUTHENTICATED);
	CHECK_EQ(login("nobody", "0123456789ab"), CODE_UNAUTHENTICATED);
	CHECK_EQ(login("dev", "0123456789ab"), CODE_OK);
	snprintf(one, sizeof one, "%s", text_of("token"));
	CHECK_EQ(login("dev", "0123456789ab"), CODE_OK);
	snprintf(two, sizeof two, "%s", text_of("token"));
	CHECK_EQ(registry_authenticate(registry, one, &identity), 0);
	CHECK_EQ(identity.role, ROLE_DEVELOPER);
	CHECK_STR(identity.tenant_name, "acme");
	CHECK(!file_holds(db_path, one) && !file_holds(wal_path, one));
	CHECK(!file_holds(wal_path, "0123456789ab"));

	CHECK_EQ(registry_password_look(registry, "dev", &before), 0);
	registry_password_compare(&before, "0123456789ab");
	CHECK_EQ(change_password(one, "wrong password!", "new password!"), CODE_FORBIDDEN);
	CHECK_EQ(change_password(one, "0123456789ab", "new password!"), CODE_OK);
	registry_result_deinit(&result); // compared in time, but with a password of the past
	CHECK_EQ(outcome(registry_login(registry, NULL, "dev", &before, &result)),
		 CODE_UNAUTHENTICATED);
	CHECK_EQ(registry_authenticate(registry, one, &identity), 0);
	CHECK_EQ(registry_authenticate(registry, two, &identity), REGISTRY_E_UNKNOWN);
	CHECK_EQ(login("dev", "new password!"), CODE_OK);

	CHECK_EQ(put(REGISTRY_USER, NULL, "dev", "{\"disabled\":true}"), CODE_OK);
	CHECK_EQ(registry_authenticate(registry, one, &identity), REGISTRY_E_UNKNOWN);
	CHECK_EQ(login("dev", "new password!"), CODE_UNAUTHENTICATED);
	CHECK_EQ(put(REGISTRY_USER, NULL, "dev", "{\"disabled\":false}"), CODE_OK);
	CHECK_EQ(registry_authenticate(registry, one, &identity), 0);
	now_ms += 13ll * 3600 * 1000;
	CHECK_EQ(registry_authenticate(registry, one, &identity), REGISTRY_E_UNKNOWN);
	CHECK_EQ(login("dev", "new password!"), CODE_OK);
	snprintf(one, sizeof one, "%s", text_of("token"));
	CHECK_EQ(registry_logout(registry, one), 0);
	CHECK_EQ(registry_authenticate(registry, one, &identity), REGISTRY_E_UNKNOWN);
	end();
}

static void the_last_admin_stays(void)
{
	begin();
	CHECK_EQ(create(REGISTRY_USER, NULL,
			"{\"name\":\"a\",\"role\":\"admin\",\"password\":\"0123456789ab\"}"),
		 CODE_OK);
	CHECK_EQ(drop(REGISTRY_USER, NULL, "a", true), CODE_CONFLICT);
	CHECK_EQ(put(REGISTRY_USER, NULL, "a", "{\"disabled\":true}"), CODE_CONFLICT);
	CHECK_EQ(put(REGISTRY_USER, NULL, "a", "{\"role\":\"auditor\"}"), CODE_CONFLICT);
	CHECK_EQ(create(REGISTRY_USER, NULL,
			"{\"name\":\"b\",\"role\":\"admin\",\"password\":\"0123456789ab\"}"),
		 CODE_OK);
	CHECK_EQ(drop(REGISTRY_USER, NULL, "a", false), CODE_OK);
	end();
}

static void machine_tokens(void)
{
	struct registry_identity identity;
	char token[64], id[24];

	acme();
	CHECK_EQ(create(REGISTRY_TOKEN, NULL, "{\"name\":\"ci\",\"role\":\"operator\"}"), CODE_OK);
	snprintf(token, sizeof token, "%s", text_of("token"));
	snprintf(id, sizeof id, "%lld", (long long)number_of("id"));
	CHECK_EQ(registry_authenticate(registry, token, &identity), 0);
	CHECK_EQ(identity.role, ROLE_OPERATOR);
	CHECK(!identity.session);
	CHECK_EQ(get(REGISTRY_TOKEN, NULL, id), CODE_OK);
	CHECK(text_of("token") == NULL && json_object_get(result.body, "hash") == NULL);
	CHECK_EQ(get(REGISTRY_TOKEN, NULL, "ci"), CODE_NOT_FOUND);
	CHECK_EQ(drop(REGISTRY_TOKEN, NULL, id, false), CODE_OK);
	CHECK_EQ(registry_authenticate(registry, token, &identity), REGISTRY_E_UNKNOWN);
	CHECK_EQ(create(REGISTRY_TOKEN, NULL,
			"{\"name\":\"ci\",\"role\":\"viewer\",\"tenant\":\"acme\","
			"\"expires_ms\":1700000000001}"),
		 CODE_OK);
	CHECK_EQ(registry_authenticate(registry, text_of("token"), &identity), REGISTRY_E_UNKNOWN);
	end();
}

static bool may(const char *name, enum role role, uint64_t own, uint64_t target)
{
	return permission_check(permission_find(name), role, own, target);
}

static void permissions(void)
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

// ---- audit

static void sql(const char *statement)
{
	sqlite3 *direct;

	CHECK_EQ(sqlite3_open(db_path, &direct), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(direct, statement, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(direct);
}

static json_int_t first_bad(void)
{
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_audit_verify(registry, &result)), CODE_OK);
	CHECK(json_is_true(json_object_get(result.body, "ok")) == (number_of("first_bad") == 0));
	return number_of("first_bad");
}

static void audit_tells_everything(void)
{
	struct registry_query query = {.limit = 2, .tenant = "acme"};
	json_t *entry;

	acme();
	CHECK_EQ(put(REGISTRY_TENANT, NULL, "acme", "{\"suspended\":true}"), CODE_OK);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
	CHECK_EQ(registry_audit_note(registry, &ann, "kick", "client", "7", "acme", NULL), 0);
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_audit_list(registry, &query, &result)), CODE_OK);
	CHECK_EQ(json_array_size(json_object_get(result.body, "items")), 2);
	CHECK_STR(text_of("next"), "4");
	query.cursor = "4";
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_audit_list(registry, &query, &result)), CODE_OK);
	entry = json_array_get(json_object_get(result.body, "items"), 0);
	CHECK_STR(json_string_value(json_object_get(entry, "action")), "update");
	CHECK_STR(json_string_value(json_object_get(entry, "actor")), "user:ann");
	CHECK_STR(json_string_value(json_object_get(entry, "address")), "127.0.0.1");
	CHECK(json_is_false(json_object_get(json_object_get(entry, "old"), "suspended")));
	CHECK(json_is_true(json_object_get(json_object_get(entry, "new"), "suspended")));
	query = (struct registry_query){.limit = 10, .action = "kick"};
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_audit_list(registry, &query, &result)), CODE_OK);
	CHECK_EQ(json_array_size(json_object_get(result.body, "items")), 1);
	query.cursor = "x";
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_audit_list(registry, &query, &result)), CODE_BAD_REQUEST);
	CHECK_EQ(first_bad(), 0);
	end();
}

static void audit_tampering_is_found(void)
{
	static const struct {
		const char *change, *back;
		json_int_t bad;
	} damages[] = {
		{"UPDATE audit SET actor = 'user:eve' WHERE seq = 2",
		 "UPDATE audit SET actor = 'user:ann' WHERE seq = 2", 2},
		{"UPDATE audit SET address = NULL WHERE seq = 3",
		 "UPDATE audit SET address = '127.0.0.1' WHERE seq = 3", 3},
		{"UPDATE audit SET time_ms = time_ms + 1 WHERE seq = 1",
		 "UPDATE audit SET time_ms = time_ms - 1 WHERE seq = 1", 1},
		{"UPDATE audit SET hash = zeroblob(32) WHERE seq = 2", NULL, 2},
		{"DELETE FROM audit WHERE seq = 2", NULL, 3},
	};

	for (size_t i = 0; i < ARRAY_SIZE(damages); ++i) {
		acme();
		CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
		CHECK_EQ(first_bad(), 0);
		sql(damages[i].change);
		CHECK_EQ(first_bad(), damages[i].bad);
		if (damages[i].back) {
			sql(damages[i].back);
			CHECK_EQ(first_bad(), 0);
		}
		end();
	}
}

static void refusals_leave_no_trace(void)
{
	uint64_t revision;

	acme();
	revision = registry_revision(registry);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\",\"cluster\":\"none\"}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(drop(REGISTRY_TENANT, NULL, "nobody", true), CODE_NOT_FOUND);
	CHECK_EQ(registry_revision(registry), revision);
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_audit_verify(registry, &result)), CODE_OK);
	CHECK_EQ(number_of("entries"), 2);
	end();
}

// ---- the door

static void catalog_is_brought_up_to_date(void)
{
	_cleanup_(freep) struct catalog_change *change = NULL;
	const struct topic *topic;

	acme_with_group();
	// As after a crash between commit and publication: the catalog knows less.
	registry_close(registry);
	catalog_free(catalog);
	catalog = NULL;
	reopen();
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"late\"}"), CODE_OK);
	CHECK_EQ(drop(REGISTRY_GROUP, "acme", "billing", false), CODE_OK);
	settle_all();
	registry_close(registry);
	CHECK_EQ(catalog_new(copy_path, &key, &catalog), 0);
	CHECK(catalog_topic_by_name(catalog, 2, "late") == NULL);
	reopen();
	catalog_follows();
	topic = catalog_topic_by_name(catalog, 2, "late");
	CHECK(topic != NULL);
	model_unref(topic);
	CHECK(catalog_group_by_name(catalog, 2, "billing") == NULL);

	CHECK_EQ(registry_change(registry, catalog_source(catalog), 2, &change), 0);
	CHECK_EQ(le16_get(change->data + 6), 0); // a delta
	free(change);
	CHECK_EQ(registry_change(registry, 4711, 2, &change), 0);
	CHECK_EQ(le16_get(change->data + 6), 1); // a full one
	end();
}

// Makes topics and tells of each one that it was promised, until it is killed.
static void make_topics_for_ever(int pipe_end, unsigned from)
{
	char body[64];

	begin();
	for (unsigned i = from;; ++i) {
		snprintf(body, sizeof body, "{\"name\":\"topic-%u\"}", i);
		if (create(REGISTRY_TOPIC, "acme", body) != CODE_OK ||
		    write(pipe_end, &i, sizeof i) != sizeof i)
			_exit(1);
	}
}

static void kill_loses_nothing(void)
{
	unsigned promised = 0, made;
	char name[32];

	acme();
	registry_close(registry);
	catalog_free(catalog);
	for (unsigned round = 0; round < 10; ++round) {
		int ends[2], status;
		pid_t child;

		CHECK_EQ(pipe(ends), 0);
		child = fork();
		if (child == 0)
			make_topics_for_ever(ends[1], promised + 2);
		close(ends[1]);
		for (unsigned i = 0; i < 5 + 7 * round; ++i)
			CHECK_EQ(read(ends[0], &promised, sizeof promised), sizeof promised);
		kill(child, SIGKILL);
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK(WIFSIGNALED(status));
		while (read(ends[0], &made, sizeof made) == sizeof made)
			promised = made;
		close(ends[0]);
		begin();
		snprintf(name, sizeof name, "topic-%u", promised);
		CHECK_EQ(get(REGISTRY_TOPIC, "acme", name), CODE_OK);
		catalog_follows();
		CHECK_EQ(first_bad(), 0);
		registry_result_deinit(&result);
		registry_close(registry);
		catalog_free(catalog);
	}
	begin();
	end();
}

// No file may grow: what a full disk looks like from here.
static void disk_full(bool full)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = full ? 0 : limit.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void full_disk_loses_nothing(void)
{
	struct registry_ref ref = {REGISTRY_TOPIC, "acme", "orders"};
	json_t *body = json_pack("{s:i}", "retention_ms", 5000);
	uint64_t revision;

	acme_with_group();
	revision = registry_revision(registry);
	disk_full(true);
	CHECK(registry_put(registry, &ann, &ref, REGISTRY_MATCH_NONE, body, &result) < 0);
	disk_full(false);
	CHECK_EQ(result.code, CODE_INTERNAL);
	CHECK_EQ(registry_revision(registry), revision);
	catalog_follows();
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_put(registry, &ann, &ref, REGISTRY_MATCH_NONE, body, &result)),
		 CODE_OK);
	CHECK_EQ(registry_revision(registry), revision + 1);
	catalog_follows();
	CHECK_EQ(first_bad(), 0);
	json_decref(body);
	end();
}

// ---- totals

static void see_total(void *ctx, const struct registry_total *total)
{
	json_int_t *sum = ctx;

	*sum += json_integer_value(json_object_get(total->counters, "messages"));
}

static void totals_survive(void)
{
	json_t *counters = json_pack("{s:i}", "messages", 5);
	struct registry_total totals[] = {{REGISTRY_TOPIC, 3, counters},
					  {REGISTRY_GROUP, 4, counters}};
	json_int_t sum = 0;

	acme_with_group();
	totals[1].id = id_of(REGISTRY_GROUP, "acme", "billing");
	CHECK_EQ(registry_totals_save(registry, totals, 2), 0);
	CHECK_EQ(registry_totals_save(registry, totals, 2), 0);
	registry_close(registry);
	reopen();
	CHECK_EQ(registry_totals_load(registry, see_total, &sum), 0);
	CHECK_EQ(sum, 10);
	CHECK_EQ(drop(REGISTRY_GROUP, "acme", "billing", false), CODE_OK);
	settle_all();
	sum = 0;
	CHECK_EQ(registry_totals_load(registry, see_total, &sum), 0);
	CHECK_EQ(sum, 5);
	json_decref(counters);
	end();
}

// ---- the whole

static enum code import(const json_t *document, bool preview)
{
	registry_result_deinit(&result);
	return outcome(registry_import(registry, &ann, document, preview, &result));
}

static void definitions(void)
{
	json_t *document, *bad;
	uint64_t revision;

	acme_with_group();
	CHECK_EQ(put(REGISTRY_CLUSTER, NULL, "local", "{\"exclusive_tenant\":\"acme\"}"), CODE_OK);
	registry_result_deinit(&result);
	CHECK_EQ(outcome(registry_export(registry, &result)), CODE_OK);
	document = json_incref(result.body);
	CHECK_EQ(import(document, false), CODE_OK);
	CHECK_EQ(number_of("unchanged"), 4);
	CHECK_EQ(number_of("created") + number_of("updated"), 0);
	end();

	begin();
	CHECK_EQ(import(document, true), CODE_OK);
	CHECK_EQ(number_of("created"), 4);
	CHECK_EQ(registry_revision(registry), 0);
	CHECK_EQ(import(document, false), CODE_OK);
	CHECK_EQ(json_array_size(json_object_get(result.body, "changes")), 4);
	CHECK(id_of(REGISTRY_TOPIC, "acme", "billing.dead") != 0);
	CHECK_EQ(get(REGISTRY_CLUSTER, NULL, "local"), CODE_OK);
	CHECK_STR(text_of("exclusive_tenant"), "acme");
	catalog_follows();
	revision = registry_revision(registry);

	// One part that is wrong: nothing of the rest is done.
	bad = json_loads("{\"format\":1,\"tenants\":[{\"name\":\"new\"},{\"name\":\"acme\","
			 "\"topics\":[{\"name\":\"ok\"},{\"name\":\"t\",\"partitions\":0}]}]}",
			 0, NULL);
	CHECK_EQ(import(bad, false), CODE_BAD_REQUEST);
	CHECK_STR(json_string_value(json_object_get(json_array_get(result.errors, 0), "field")),
		  "/tenants/1/topics/1/partitions");
	CHECK(id_of(REGISTRY_TENANT, NULL, "new") == 0);
	CHECK_EQ(registry_revision(registry), revision);
	json_decref(bad);
	bad = json_loads("{\"format\":1,\"clusters\":[7]}", 0, NULL);
	CHECK_EQ(import(bad, false), CODE_BAD_REQUEST);
	CHECK_STR(json_string_value(json_object_get(json_array_get(result.errors, 0), "field")),
		  "/clusters/0");
	json_decref(bad);
	bad = json_loads("{\"format\":1,\"tenants\":[[]]}", 0, NULL);
	CHECK_EQ(import(bad, false), CODE_BAD_REQUEST);
	json_decref(bad);
	bad = json_pack("{s:i, s:i}", "format", 2, "other", 1);
	CHECK_EQ(import(bad, false), CODE_BAD_REQUEST);
	json_decref(bad);
	json_decref(document);
	end();
}

static int restore(const char *path)
{
	_cleanup_(freep) char *error = NULL;
	int r = registry_restore_prepare(registry, path, &error);

	registry_result_deinit(&result);
	return r < 0 ? r : (int)outcome(registry_restore(registry, &ann, path, &result));
}

static void backup_and_restore(void)
{
	uint64_t source, revision;

	acme_with_group();
	CHECK_EQ(registry_backup(registry, backup_path), 0);
	CHECK_EQ(registry_backup(registry, backup_path), -EEXIST);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"late\"}"), CODE_OK);
	source = catalog_source(catalog);
	revision = registry_revision(registry);
	CHECK_EQ(restore(backup_path), CODE_OK);
	CHECK(id_of(REGISTRY_TOPIC, "acme", "late") == 0);
	CHECK(id_of(REGISTRY_TOPIC, "acme", "orders") != 0);
	CHECK(catalog_topic_by_name(catalog, 2, "late") == NULL);
	CHECK(catalog_source(catalog) != source);
	CHECK(registry_revision(registry) > revision);
	CHECK_EQ(first_bad(), 0);
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"late\"}"), CODE_OK);
	CHECK_EQ(number_of("id"), 7); // 6 was the one of the time between
	catalog_follows();
	registry_close(registry);
	reopen();
	catalog_follows();
	end();
}

static void restore_of_rubbish_changes_nothing(void)
{
	acme();
	sql("PRAGMA user_version = 2");
	CHECK(restore("/dev/null/none") < 0);
	{
		int fd = open(backup_path, O_WRONLY | O_CREAT, 0600);
		char rubbish[8192];

		memset(rubbish, 'x', sizeof rubbish);
		CHECK_EQ(write(fd, rubbish, sizeof rubbish), sizeof rubbish);
		close(fd);
	}
	CHECK_EQ(restore(backup_path), -EUCLEAN);
	CHECK(id_of(REGISTRY_TENANT, NULL, "acme") != 0);
	end();
}

// ---- files that are not as they should be

static void expect_refusal(int error, const char *sentence)
{
	char *text;

	CHECK_EQ(try_open(&text), error);
	if (!strstr(text, sentence))
		CHECK_STR(text, sentence);
	free(text);
	registry = NULL;
}

static void older_schema_is_migrated(void)
{
	acme_with_group();
	registry_close(registry);
	sql("DROP INDEX access_keys_family; ALTER TABLE access_keys DROP COLUMN family;"
	    "ALTER TABLE topics DROP COLUMN message_bytes;"
	    "ALTER TABLE tenants DROP COLUMN limits_wait_ms;"
	    "DROP TABLE totals; PRAGMA user_version = 1");
	reopen();
	CHECK_EQ(get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_EQ(number_of("message_bytes"), 1 << 20);
	CHECK_EQ(get(REGISTRY_TENANT, NULL, "acme"), CODE_OK);
	CHECK_EQ(json_integer_value(
			 json_object_get(json_object_get(result.body, "limits"), "wait_ms")),
		 5000);
	CHECK_EQ(create(REGISTRY_ACCESS_KEY, "acme", "{}"), CODE_OK);
	CHECK_EQ(registry_totals_save(registry, NULL, 0), 0);
	end();
}

static void newer_schema_is_refused(void)
{
	acme();
	registry_close(registry);
	sql("PRAGMA user_version = 99");
	expect_refusal(-ENOTSUP, "newer version");
	end();
}

static void foreign_file_is_refused(void)
{
	begin();
	registry_close(registry);
	sql("PRAGMA application_id = 5");
	expect_refusal(-EUCLEAN, "not a registry");
	end();
}

static void damaged_file_is_refused(void)
{
	int fd;

	acme_with_group();
	registry_close(registry);
	fd = open(db_path, O_RDWR);
	for (off_t at = 4096; at < lseek(fd, 0, SEEK_END); at += 512)
		CHECK_EQ(pwrite(fd, "damaged!", 8, at), 8);
	close(fd);
	expect_refusal(-EUCLEAN, "is damaged");
	fd = open(db_path, O_RDWR | O_TRUNC);
	CHECK_EQ(pwrite(fd, "this is not a database at all, is it?", 37, 0), 37);
	close(fd);
	expect_refusal(-EUCLEAN, "is damaged");
	end();
}

static void locked_file_is_refused(void)
{
	sqlite3 *other;

	acme();
	registry_close(registry);
	CHECK_EQ(sqlite3_open(db_path, &other), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	expect_refusal(-EBUSY, "locked");
	sqlite3_close(other);
	reopen();
	end();
}

static void missing_folder_is_refused(void)
{
	struct registry_config config = {.path = "/nowhere/at/all/registry.db", .key = &key};
	char *error;

	CHECK_EQ(registry_open(&config, &registry, &error), -ENOENT);
	CHECK(strstr(error, "no such folder"));
	free(error);
	registry = NULL;
}

// ---- reconciling

static struct {
	unsigned asked[ASK_COUNT];
	enum code answer;
	bool silent;
	ask_done_fn done;
	void *done_ctx;
	unsigned woken;
} backend;

static void backend_ask(struct ask_door *door, enum ask_kind kind, json_t *parameters,
			uint64_t deadline_ns, ask_done_fn done, void *done_ctx)
{
	(void)door;
	CHECK(deadline_ns > 0);
	CHECK_EQ(json_object_size(parameters), 1);
	json_decref(parameters);
	++backend.asked[kind];
	if (backend.silent) {
		backend.done = done;
		backend.done_ctx = done_ctx;
	} else {
		done(done_ctx, backend.answer, json_object(), "because");
	}
}

static void backend_wake(void *ctx)
{
	(void)ctx;
	++backend.woken;
}

static struct ask_door backend_door = {.ask = backend_ask};

static struct reconcile *reconciler(void)
{
	struct reconcile_config config = {
		.registry = registry, .door = &backend_door, .wake = backend_wake};
	struct reconcile *reconcile;

	memset(&backend, 0, sizeof backend);
	CHECK_EQ(reconcile_new(&config, &reconcile), 0);
	return reconcile;
}

static const char *state(enum registry_kind kind, const char *name)
{
	CHECK_EQ(get(kind, "acme", name), CODE_OK);
	return text_of("state");
}

static void reconcile_makes_and_deletes(void)
{
	struct reconcile *reconcile;

	acme();
	reconcile = reconciler();
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"orders\"}"), CODE_OK);
	CHECK_EQ(create(REGISTRY_GROUP, "acme", "{\"name\":\"g\",\"topic\":\"orders\"}"), CODE_OK);
	for (unsigned i = 0; i < 3; ++i)
		reconcile_run(reconcile, S_NS);
	CHECK_STR(state(REGISTRY_GROUP, "g"), "ready");
	CHECK_EQ(backend.asked[ASK_TOPIC_CREATE], 2);
	CHECK_EQ(backend.asked[ASK_GROUP_CREATE], 1);
	CHECK_EQ(backend.woken, 3);
	CHECK_EQ(drop(REGISTRY_TOPIC, "acme", "orders", true), CODE_OK);
	for (unsigned i = 0; i < 3; ++i)
		reconcile_run(reconcile, 2 * S_NS);
	CHECK(id_of(REGISTRY_TOPIC, "acme", "orders") == 0);
	CHECK_EQ(backend.asked[ASK_TOPIC_DELETE], 2);
	CHECK_EQ(backend.asked[ASK_GROUP_DELETE], 1);
	reconcile_free(reconcile);
	end();
}

static void reconcile_waits_longer_and_longer(void)
{
	struct reconcile *reconcile;
	uint64_t now_ns = S_NS;

	acme();
	reconcile = reconciler();
	backend.answer = CODE_BACKEND_DOWN;
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
	for (unsigned i = 0; i < 1000; ++i) {
		uint64_t next_ns = reconcile_run(reconcile, now_ns);

		CHECK(next_ns > now_ns && next_ns <= now_ns + S_NS);
		now_ns += 100 * MS_NS;
	}
	CHECK(backend.asked[ASK_TOPIC_CREATE] >= 9 && backend.asked[ASK_TOPIC_CREATE] <= 14);
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "creating");
	CHECK_STR(text_of("state_reason"), "because");
	backend.answer = CODE_OK;
	now_ns += 40 * S_NS;
	reconcile_run(reconcile, now_ns);
	reconcile_run(reconcile, now_ns);
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "ready");
	CHECK(json_is_null(json_object_get(result.body, "state_reason")));
	reconcile_free(reconcile);
	end();
}

// A cluster that is deleted by force takes its topics with it, though its backend never agrees.
static void reconcile_abandons_what_a_lost_cluster_holds(void)
{
	struct reconcile *reconcile;
	uint64_t now_ns = S_NS;

	acme_with_group();
	reconcile = reconciler();
	for (; now_ns < 4 * S_NS; now_ns += S_NS)
		reconcile_run(reconcile, now_ns);
	backend.answer = CODE_BACKEND_DOWN;
	CHECK_EQ(drop(REGISTRY_GROUP, "acme", "billing", true), CODE_OK);
	for (; now_ns < 1000 * S_NS; now_ns += S_NS)
		reconcile_run(reconcile, now_ns);
	CHECK_STR(state(REGISTRY_GROUP, "billing"), "deleting"); // its cluster may come back
	CHECK_STR(text_of("state_reason"), "because");
	CHECK_EQ(drop(REGISTRY_CLUSTER, NULL, "local", true), CODE_OK);
	for (; now_ns < 1010 * S_NS; now_ns += S_NS)
		reconcile_run(reconcile, now_ns);
	CHECK_STR(state(REGISTRY_TOPIC, "orders"), "deleting");
	for (; now_ns < 1200 * S_NS; now_ns += S_NS)
		reconcile_run(reconcile, now_ns);
	CHECK(id_of(REGISTRY_GROUP, "acme", "billing") == 0);
	CHECK(id_of(REGISTRY_TOPIC, "acme", "orders") == 0);
	CHECK(id_of(REGISTRY_CLUSTER, NULL, "local") == 0);
	CHECK(file_holds(db_path, "abandoned") || file_holds(wal_path, "abandoned"));
	reconcile_free(reconcile);
	end();
}

static void reconcile_gives_up_on_refusal(void)
{
	struct reconcile *reconcile;
	uint64_t made_ns, real_ns;

	acme();
	reconcile = reconciler();
	backend.answer = CODE_UNSUPPORTED_BY_BACKEND;
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
	made_ns = clock_now_ns();
	for (uint64_t now_ns = S_NS; now_ns < 100 * S_NS; now_ns += S_NS)
		reconcile_run(reconcile, now_ns);
	real_ns = clock_now_ns();
	CHECK(catalog_age_ns(catalog, real_ns) <= real_ns - made_ns); // heard since
	CHECK_EQ(backend.asked[ASK_TOPIC_CREATE], 1);
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "failed");
	backend.answer = CODE_OK;
	CHECK_EQ(put(REGISTRY_TOPIC, "acme", "t", "{}"), CODE_OK); // try again
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "creating");
	reconcile_run(reconcile, 200 * S_NS);
	reconcile_run(reconcile, 200 * S_NS);
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "ready");
	reconcile_free(reconcile);
	end();
}

// Deleted while it is being made: the answer to the first question must not make it ready, and the
// second question waits for it.
static void reconcile_deletes_what_is_being_made(void)
{
	struct reconcile *reconcile;

	acme();
	reconcile = reconciler();
	backend.silent = true;
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
	reconcile_run(reconcile, S_NS);
	CHECK_EQ(drop(REGISTRY_TOPIC, "acme", "t", false), CODE_OK);
	reconcile_run(reconcile, 2 * S_NS);
	CHECK_EQ(backend.asked[ASK_TOPIC_DELETE], 0);
	backend.silent = false;
	backend.done(backend.done_ctx, CODE_OK, NULL, NULL);
	reconcile_run(reconcile, 3 * S_NS);
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "deleting");
	CHECK_EQ(backend.asked[ASK_TOPIC_DELETE], 1);
	reconcile_run(reconcile, 3 * S_NS);
	CHECK(id_of(REGISTRY_TOPIC, "acme", "t") == 0);

	// An answer that comes when nobody waits any more.
	backend.silent = true;
	CHECK_EQ(create(REGISTRY_TOPIC, "acme", "{\"name\":\"u\"}"), CODE_OK);
	reconcile_run(reconcile, 4 * S_NS);
	reconcile_free(reconcile);
	backend.done(backend.done_ctx, CODE_OK, json_object(), NULL);
	end();
}

static void directory_make(void)
{
	log_set_sink(drop_line, NULL);
	unit_directory(directory);
	snprintf(db_path, sizeof db_path, "%s/registry.db", directory);
	snprintf(wal_path, sizeof wal_path, "%s-wal", db_path);
	snprintf(shm_path, sizeof shm_path, "%s-shm", db_path);
	snprintf(copy_path, sizeof copy_path, "%s/catalog", directory);
	snprintf(backup_path, sizeof backup_path, "%s/backup.db", directory);
}

static void directory_remove(void)
{
	CHECK_EQ(rmdir(directory), 0);
}

UNIT_MAIN(UNIT_CASE(directory_make), UNIT_CASE(resource_life), UNIT_CASE(topics_and_groups),
	  UNIT_CASE(topics_grow), UNIT_CASE(changes_are_told), UNIT_CASE(copies_of_a_topic),
	  UNIT_CASE(group_rules), UNIT_CASE(limits_of_a_tenant), UNIT_CASE(clusters_bound),
	  UNIT_CASE(physical_names_tell_registries_apart), UNIT_CASE(credentials_stay_secret),
	  UNIT_CASE(access_keys), UNIT_CASE(deletion_in_use), UNIT_CASE(deletion_of_a_group),
	  UNIT_CASE(deletion_order), UNIT_CASE(deletion_of_a_tenant),
	  UNIT_CASE(deletion_of_a_large_tenant), UNIT_CASE(deletion_of_a_cluster), UNIT_CASE(lists),
	  UNIT_CASE(bootstrap_works_once), UNIT_CASE(sessions), UNIT_CASE(the_last_admin_stays),
	  UNIT_CASE(machine_tokens), UNIT_CASE(permissions), UNIT_CASE(audit_tells_everything),
	  UNIT_CASE(audit_tampering_is_found), UNIT_CASE(refusals_leave_no_trace),
	  UNIT_CASE(catalog_is_brought_up_to_date), UNIT_CASE(kill_loses_nothing),
	  UNIT_CASE(full_disk_loses_nothing), UNIT_CASE(totals_survive), UNIT_CASE(definitions),
	  UNIT_CASE(backup_and_restore), UNIT_CASE(restore_of_rubbish_changes_nothing),
	  UNIT_CASE(older_schema_is_migrated), UNIT_CASE(newer_schema_is_refused),
	  UNIT_CASE(foreign_file_is_refused), UNIT_CASE(damaged_file_is_refused),
	  UNIT_CASE(locked_file_is_refused), UNIT_CASE(missing_folder_is_refused),
	  UNIT_CASE(reconcile_makes_and_deletes), UNIT_CASE(reconcile_waits_longer_and_longer),
	  UNIT_CASE(reconcile_abandons_what_a_lost_cluster_holds),
	  UNIT_CASE(reconcile_gives_up_on_refusal), UNIT_CASE(reconcile_deletes_what_is_being_made),
	  UNIT_CASE(directory_remove))
