// What a registry and a server do for a proxy is done here by hand.

#include "tests/e2e/memory_proxy.h"

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/catalog/change.h"
#include "core/net/scram.h"
#include "proxy/proxy.h"
#include "tests/e2e/memory_adapter.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

#define MUST(call)                                                                                 \
	do {                                                                                       \
		if (!(call)) {                                                                     \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #call);         \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct memory_proxy memory_proxy;

static struct catalog *catalog;
static uint64_t revision;
static sem_t drained;
static char folder[256]; // of the clusters; nothing is written there

static void silent(void *ctx, enum log_level level, const char *line, size_t size)
{
	MUST(size > 0 && line[0] == '{');
}

// ---- the objects

static void put(struct change_writer *writer, enum model_kind kind, const void *draft)
{
	struct model_object *object = model_new(kind, draft);

	MUST(object && change_put(writer, object) == 0);
	model_unref(object);
}

static void put_tenant(struct change_writer *writer)
{
	static const uint64_t clusters[] = {1};
	struct tenant tenant = {.object.id = 2,
				.name = "a",
				.limits = {.produce_tps = MODEL_UNLIMITED,
					   .storage_bytes = MODEL_UNLIMITED,
					   .produce_bps = MODEL_UNLIMITED,
					   .consume_tps = MODEL_UNLIMITED,
					   .consume_bps = MODEL_UNLIMITED,
					   .connections = UINT32_MAX,
					   .topics = UINT32_MAX,
					   .groups = UINT32_MAX,
					   .in_flight = UINT32_MAX,
					   .message_bytes = 1u << 20,
					   .wait_ms = 1000},
				.clusters = clusters,
				.cluster_count = 1};

	put(writer, MODEL_TENANT, &tenant);
}

static void put_key(struct change_writer *writer)
{
	static const uint8_t salt[SCRAM_SALT_SIZE] = {1, 2, 3};
	static const struct access_grant grants[] = {{"*", ACCESS_PRODUCE | ACCESS_CONSUME}};
	struct access_key key = {.object.id = 3,
				 .key_id = MEMORY_PROXY_KEY,
				 .tenant = 2,
				 .grants = grants,
				 .grant_count = 1};
	struct scram_verifier verifier;

	MUST(scram_verifier_make(MEMORY_PROXY_SECRET, salt, SCRAM_ITERATIONS, &verifier) == 0);
	memcpy(key.salt, verifier.salt, sizeof key.salt);
	key.salt_count = verifier.iterations;
	memcpy(key.stored_key, verifier.stored_key, sizeof key.stored_key);
	memcpy(key.server_key, verifier.server_key, sizeof key.server_key);
	put(writer, MODEL_ACCESS_KEY, &key);
}

static void objects_init(void)
{
	memory_proxy.limits = proxy_limits_default;
	memory_proxy.cluster = (struct cluster){.object.id = 1, .name = "c", .kind = "memory"};
	memory_proxy.topic = (struct topic){.object.id = 4,
					    .name = "t",
					    .physical = "t",
					    .tenant = 2,
					    .cluster = 1,
					    .incarnation = 1,
					    .partitions = 2,
					    .message_bytes = 1u << 20,
					    .durability = 1,
					    .state = MODEL_READY};
	memory_proxy.group = (struct group){.object.id = 5,
					    .name = "g",
					    .physical = "g",
					    .tenant = 2,
					    .topic = 4,
					    .incarnation = 1,
					    .visibility_ms = 30000,
					    .state = MODEL_READY};
}

static struct change_writer change_of(bool full)
{
	struct change_head head = {
		.full = full, .source = 1, .from = full ? 0 : revision, .to = revision + 1};
	struct change_writer writer;

	MUST(change_begin(&writer, &head, NULL) == 0);
	++revision;
	return writer;
}

static void apply(struct change_writer *writer)
{
	struct catalog_change *change = change_end(writer);

	MUST(catalog_apply(catalog, change) == 0);
	free(change);
}

void memory_proxy_put(enum model_kind kind, const void *draft)
{
	struct change_writer writer = change_of(false);

	put(&writer, kind, draft);
	apply(&writer);
}

void memory_proxy_gone(enum model_kind kind, uint64_t id)
{
	struct change_writer writer = change_of(false);

	MUST(change_gone(&writer, kind, id) == 0);
	apply(&writer);
}

// ---- the proxy

void memory_proxy_open(void)
{
	const char *temporary = getenv("TMPDIR");
	struct change_writer writer = change_of(true);

	snprintf(folder, sizeof folder, "%s/mqpaas-proxy-XXXXXX", temporary ? temporary : "/tmp");
	MUST(mkdtemp(folder));
	log_set_sink(silent, NULL);
	sem_init(&drained, 0, 0);
	MUST(catalog_new(NULL, NULL, &catalog) == 0);
	objects_init();
	put(&writer, MODEL_CLUSTER, &memory_proxy.cluster);
	put_tenant(&writer);
	put_key(&writer);
	put(&writer, MODEL_TOPIC, &memory_proxy.topic);
	put(&writer, MODEL_GROUP, &memory_proxy.group);
	apply(&writer);
}

void memory_proxy_start(void)
{
	static const struct proxy_listener_config listener = {.address = "127.0.0.1:0"};
	struct proxy_config config = {.proxy_id = "test",
				      .server_version = "0",
				      .data_dir = folder,
				      .workers = 2,
				      .listeners = &listener,
				      .listener_count = 1,
				      .limits = memory_proxy.limits,
				      .catalog = catalog,
				      .find_adapter = memory_adapter_find};
	char *error = NULL;

	MUST(proxy_new(&config, &memory_proxy.proxy, &error) == 0);
	MUST(proxy_start(memory_proxy.proxy) == 0);
	memory_proxy.address = proxy_address(memory_proxy.proxy, 0);
}

static void on_drained(void *ctx)
{
	sem_post(&drained);
}

void memory_proxy_stop(void)
{
	proxy_drain(memory_proxy.proxy, 10000, on_drained, NULL);
	while (sem_wait(&drained) < 0)
		continue;
	proxy_free(memory_proxy.proxy);
	memory_proxy.proxy = NULL;
	memory_proxy.address = NULL;
}

void memory_proxy_close(void)
{
	char path[300];

	snprintf(path, sizeof path, "%s/clusters/1", folder);
	rmdir(path);
	snprintf(path, sizeof path, "%s/clusters", folder);
	rmdir(path);
	rmdir(folder);
	catalog_free(catalog);
}
