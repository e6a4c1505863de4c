// The ground of the cases, and the short ways.

#include "tests/unit/registry/bench.h"
#include "core/registry/audit.h"
#include "core/registry/delete.h"
#include "core/registry/lifecycle.h"
#include "core/registry/lookup.h"
#include "core/registry/resource.h"

#include <fcntl.h>
#include <sqlite3.h>

const struct seal_key bench_key = {{7, 7, 7}};
const struct registry_actor bench_ann = {.name = "user:ann", .address = "127.0.0.1"};
struct bench bench = {.now_ms = 1700000000000};

// ---- the ground

void bench_drop_line(void *ctx, enum log_level level, const char *line, size_t size)
{
	(void)ctx;
	(void)level;
	(void)line;
	(void)size;
}

static int64_t test_now(void)
{
	return bench.now_ms;
}

// The cluster "queue" keeps no positions.
static enum group_start group_start(void *ctx, const struct cluster *cluster)
{
	return strcmp(cluster->name, "queue") == 0 ? GROUP_START_LATEST : GROUP_START_EARLIEST;
}

static enum code validate(void *ctx, const struct model_object *draft,
			  const struct cluster *cluster, char **ret_text)
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
	if (draft->kind == MODEL_GROUP && group_start(ctx, cluster) == GROUP_START_LATEST &&
	    ((const struct group *)draft)->start != GROUP_START_LATEST) {
		*ret_text = strdup("start: only with what is sent from now on");
		return CODE_UNSUPPORTED_BY_BACKEND;
	}
	return CODE_OK;
}

static enum durability durability(void *ctx, const struct topic *topic,
				  const struct cluster *cluster)
{
	return strcmp(cluster->name, "weak") == 0 ? DURABILITY_D1 : DURABILITY_D2;
}

int bench_try_open(char **ret_error)
{
	struct registry_config config = {.path = bench.db_path,
					 .key = &bench_key,
					 .catalog = bench.catalog,
					 .validate = validate,
					 .durability = durability,
					 .group_start = group_start,
					 .now_ms = test_now,
					 .audit_head = *bench.audit_path ? bench.audit_path : NULL};

	return registry_open(&config, &bench.registry, ret_error);
}

void bench_reopen(void)
{
	char *error;

	if (bench_try_open(&error) < 0) {
		CHECK_STR(error, "");
	}
}

void bench_begin(void)
{
	CHECK_EQ(catalog_new(bench.copy_path, &bench_key, &bench.catalog), 0);
	bench_reopen();
}

void bench_end(void)
{
	registry_result_deinit(&bench.result);
	registry_close(bench.registry);
	catalog_free(bench.catalog);
	bench.registry = NULL;
	unlink(bench.db_path);
	unlink(bench.wal_path);
	unlink(bench.shm_path);
	unlink(bench.copy_path);
	unlink(bench.backup_path);
}

// ---- short ways to call

enum code bench_outcome(int r)
{
	CHECK_EQ(r, 0);
	return bench.result.code;
}

enum code bench_create(enum registry_kind kind, const char *tenant, const char *text)
{
	json_t *body = json_loads(text, 0, NULL);
	int r;

	CHECK(body != NULL);
	registry_result_deinit(&bench.result);
	r = registry_resource_create(bench.registry, &bench_ann, kind, tenant, body, &bench.result);
	json_decref(body);
	return bench_outcome(r);
}

enum code bench_put_match(enum registry_kind kind, const char *tenant, const char *name,
			  uint64_t match, const char *text)
{
	struct registry_ref ref = {kind, tenant, name};
	json_t *body = json_loads(text, 0, NULL);
	int r;

	CHECK(body != NULL);
	registry_result_deinit(&bench.result);
	r = registry_resource_put(bench.registry, &bench_ann, &ref, match, body, &bench.result);
	json_decref(body);
	return bench_outcome(r);
}

enum code bench_put(enum registry_kind kind, const char *tenant, const char *name, const char *text)
{
	return bench_put_match(kind, tenant, name, REGISTRY_MATCH_NONE, text);
}

enum code bench_get(enum registry_kind kind, const char *tenant, const char *name)
{
	struct registry_ref ref = {kind, tenant, name};

	registry_result_deinit(&bench.result);
	return bench_outcome(registry_resource_get(bench.registry, &ref, &bench.result));
}

enum code bench_drop(enum registry_kind kind, const char *tenant, const char *name, bool force)
{
	struct registry_ref ref = {kind, tenant, name};
	struct registry_delete how = {.force = force};

	registry_result_deinit(&bench.result);
	return bench_outcome(
		registry_delete(bench.registry, &bench_ann, &ref, &how, &bench.result));
}

const char *bench_text(const char *member)
{
	return json_string_value(json_object_get(bench.result.body, member));
}

json_int_t bench_number(const char *member)
{
	return json_integer_value(json_object_get(bench.result.body, member));
}

uint64_t bench_id(enum registry_kind kind, const char *tenant, const char *name)
{
	struct registry_ref ref = {kind, tenant, name};

	return registry_lookup_id(bench.registry, &ref);
}

// Every backend agrees at once.
unsigned bench_settle(void)
{
	struct registry_lifecycle_pending pending[16];
	unsigned settled = 0;
	size_t count;

	do {
		CHECK_EQ(registry_lifecycle_pending(bench.registry, pending, 16, &count), 0);
		for (size_t i = 0; i < count; ++i, ++settled)
			CHECK_EQ(registry_lifecycle_settle(bench.registry, &pending[i], CODE_OK,
							   NULL, false),
				 0);
	} while (count);
	return settled;
}

void bench_acme(void)
{
	bench_begin();
	CHECK_EQ(bench_create(REGISTRY_CLUSTER, NULL, "{\"name\":\"local\",\"kind\":\"embedded\"}"),
		 CODE_OK);
	CHECK_EQ(
		bench_create(REGISTRY_TENANT, NULL, "{\"name\":\"acme\",\"clusters\":[\"local\"]}"),
		CODE_OK);
	registry_result_deinit(&bench.result);
}

void bench_acme_with_group(void)
{
	bench_acme();
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"orders\",\"partitions\":4}"),
		 CODE_OK);
	CHECK_EQ(
		bench_create(REGISTRY_GROUP, "acme", "{\"name\":\"billing\",\"topic\":\"orders\"}"),
		CODE_OK);
	CHECK_EQ(bench_settle(), 3);
	registry_result_deinit(&bench.result);
}

void bench_catalog_follows(void)
{
	CHECK_EQ(catalog_revision(bench.catalog), registry_revision(bench.registry));
	CHECK(catalog_stored(bench.catalog));
}

bool bench_file_holds(const char *path, const char *text)
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

void bench_sql(const char *statement)
{
	sqlite3 *direct;

	CHECK_EQ(sqlite3_open(bench.db_path, &direct), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(direct, statement, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(direct);
}

json_int_t bench_first_bad(void)
{
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_audit_verify(bench.registry, NULL, &bench.result)),
		 CODE_OK);
	CHECK(json_is_true(json_object_get(bench.result.body, "ok")) ==
	      (bench_number("first_bad") == 0));
	return bench_number("first_bad");
}
