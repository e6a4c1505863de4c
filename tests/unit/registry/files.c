// Definitions, backup and restore, and files that are not as they should be.

#include "tests/unit/registry/cases.h"

#include "core/registry/backup.h"
#include "core/registry/definitions.h"
#include "core/registry/schema.h"
#include "core/registry/totals.h"
#include "tests/unit/registry/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>

// ---- the whole

static enum code import(const json_t *document, bool preview)
{
	registry_result_deinit(&bench.result);
	return bench_outcome(registry_definitions_import(bench.registry, &bench_ann, document,
							 preview, &bench.result));
}

void definitions(void)
{
	json_t *document, *bad;
	uint64_t revision;

	bench_acme_with_group();
	CHECK_EQ(bench_put(REGISTRY_CLUSTER, NULL, "local", "{\"exclusive_tenant\":\"acme\"}"),
		 CODE_OK);
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_definitions_export(bench.registry, &bench.result)),
		 CODE_OK);
	document = json_incref(bench.result.body);
	CHECK_EQ(import(document, false), CODE_OK);
	CHECK_EQ(bench_number("unchanged"), 4);
	CHECK_EQ(bench_number("created") + bench_number("updated"), 0);
	bench_end();

	bench_begin();
	CHECK_EQ(import(document, true), CODE_OK);
	CHECK_EQ(bench_number("created"), 4);
	CHECK_EQ(registry_revision(bench.registry), 0);
	CHECK_EQ(import(document, false), CODE_OK);
	CHECK_EQ(json_array_size(json_object_get(bench.result.body, "changes")), 4);
	CHECK(bench_id(REGISTRY_TOPIC, "acme", "billing.dead") != 0);
	CHECK_EQ(bench_get(REGISTRY_CLUSTER, NULL, "local"), CODE_OK);
	CHECK_STR(bench_text("exclusive_tenant"), "acme");
	bench_catalog_follows();
	revision = registry_revision(bench.registry);

	// One part that is wrong: nothing of the rest is done.
	bad = json_loads("{\"format\":1,\"tenants\":[{\"name\":\"new\"},{\"name\":\"acme\","
			 "\"topics\":[{\"name\":\"ok\"},{\"name\":\"t\",\"partitions\":0}]}]}",
			 0, NULL);
	CHECK_EQ(import(bad, false), CODE_BAD_REQUEST);
	CHECK_STR(
		json_string_value(json_object_get(json_array_get(bench.result.errors, 0), "field")),
		"/tenants/1/topics/1/partitions");
	CHECK(bench_id(REGISTRY_TENANT, NULL, "new") == 0);
	CHECK_EQ(registry_revision(bench.registry), revision);
	json_decref(bad);
	bad = json_loads("{\"format\":1,\"clusters\":[7]}", 0, NULL);
	CHECK_EQ(import(bad, false), CODE_BAD_REQUEST);
	CHECK_STR(
		json_string_value(json_object_get(json_array_get(bench.result.errors, 0), "field")),
		"/clusters/0");
	json_decref(bad);
	bad = json_loads("{\"format\":1,\"tenants\":[[]]}", 0, NULL);
	CHECK_EQ(import(bad, false), CODE_BAD_REQUEST);
	json_decref(bad);
	bad = json_pack("{s:i, s:i}", "format", 2, "other", 1);
	CHECK_EQ(import(bad, false), CODE_BAD_REQUEST);
	json_decref(bad);
	json_decref(document);
	bench_end();
}

static int restore(const char *path)
{
	const struct registry_backup_restore_how how = {.path = path};
	_cleanup_(freep) char *error = NULL;
	int r = registry_backup_restore_prepare(bench.registry, path, &error);

	registry_result_deinit(&bench.result);
	return r < 0 ? r
		     : (int)bench_outcome(registry_backup_restore(bench.registry, &bench_ann, &how,
								  &bench.result));
}

void backup_and_restore(void)
{
	uint64_t source, revision;

	bench_acme_with_group();
	CHECK_EQ(registry_backup(bench.registry, bench.backup_path), 0);
	CHECK_EQ(registry_backup(bench.registry, bench.backup_path), -EEXIST);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"late\"}"), CODE_OK);
	source = catalog_source(bench.catalog);
	revision = registry_revision(bench.registry);
	CHECK_EQ(restore(bench.backup_path), CODE_OK);
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "late"), CODE_OK);
	CHECK_STR(bench_text("state"), "failed");
	CHECK(strstr(bench_text("state_reason"), "made after the backup"));
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_STR(bench_text("state"), "ready");
	CHECK(catalog_source(bench.catalog) != source);
	CHECK(registry_revision(bench.registry) > revision);
	CHECK_EQ(bench_first_bad(), 0);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"later\"}"), CODE_OK);
	CHECK_EQ(bench_number("id"), 7); // 6 is the one of the time between
	bench_catalog_follows();
	registry_close(bench.registry);
	bench_reopen();
	bench_catalog_follows();
	bench_end();
}

void restore_of_rubbish_changes_nothing(void)
{
	bench_acme();
	bench_sql("PRAGMA user_version = 2");
	CHECK(restore("/dev/null/none") < 0);
	{
		int fd = open(bench.backup_path, O_WRONLY | O_CREAT, 0600);
		char rubbish[8192];

		memset(rubbish, 'x', sizeof rubbish);
		CHECK_EQ(write(fd, rubbish, sizeof rubbish), sizeof rubbish);
		close(fd);
	}
	CHECK_EQ(restore(bench.backup_path), -EUCLEAN);
	CHECK(bench_id(REGISTRY_TENANT, NULL, "acme") != 0);
	bench_end();
}

// ---- files that are not as they should be

static void expect_refusal(int error, const char *sentence)
{
	char *text;

	CHECK_EQ(bench_try_open(&text), error);
	if (!strstr(text, sentence))
		CHECK_STR(text, sentence);
	free(text);
	bench.registry = NULL;
}

void older_schema_is_migrated(void)
{
	bench_acme_with_group();
	registry_close(bench.registry);
	bench_sql("DROP INDEX access_keys_family; ALTER TABLE access_keys DROP COLUMN family;"
		  "ALTER TABLE topics DROP COLUMN message_bytes;"
		  "ALTER TABLE tenants DROP COLUMN limits_wait_ms;"
		  "ALTER TABLE tenants DROP COLUMN limits_storage_bytes;"
		  "DROP TABLE totals; PRAGMA user_version = 1");
	bench_reopen();
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_EQ(bench_number("message_bytes"), 1 << 20);
	CHECK_EQ(bench_get(REGISTRY_TENANT, NULL, "acme"), CODE_OK);
	CHECK_EQ(json_integer_value(
			 json_object_get(json_object_get(bench.result.body, "limits"), "wait_ms")),
		 5000);
	CHECK(json_is_null(
		json_object_get(json_object_get(bench.result.body, "limits"), "storage_bytes")));
	CHECK_EQ(bench_create(REGISTRY_ACCESS_KEY, "acme", "{}"), CODE_OK);
	CHECK_EQ(registry_totals_save(bench.registry, NULL, 0), 0);
	bench_end();
}

void newer_schema_is_refused(void)
{
	bench_acme();
	registry_close(bench.registry);
	bench_sql("PRAGMA user_version = 99");
	expect_refusal(-ENOTSUP, "newer version");
	bench_end();
}

void foreign_file_is_refused(void)
{
	bench_begin();
	registry_close(bench.registry);
	bench_sql("PRAGMA application_id = 5");
	expect_refusal(-EUCLEAN, "not a registry");
	bench_end();
}

void damaged_file_is_refused(void)
{
	int fd;

	bench_acme_with_group();
	registry_close(bench.registry);
	fd = open(bench.db_path, O_RDWR);
	for (off_t at = 4096; at < lseek(fd, 0, SEEK_END); at += 512)
		CHECK_EQ(pwrite(fd, "damaged!", 8, at), 8);
	close(fd);
	expect_refusal(-EUCLEAN, "is damaged");
	fd = open(bench.db_path, O_RDWR | O_TRUNC);
	CHECK_EQ(pwrite(fd, "this is not a database at all, is it?", 37, 0), 37);
	close(fd);
	expect_refusal(-EUCLEAN, "is damaged");
	bench_end();
}

void locked_file_is_refused(void)
{
	sqlite3 *other;

	bench_acme();
	registry_close(bench.registry);
	CHECK_EQ(sqlite3_open(bench.db_path, &other), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	expect_refusal(-EBUSY, "locked");
	sqlite3_close(other);
	bench_reopen();
	bench_end();
}

void missing_folder_is_refused(void)
{
	struct registry_config config = {.path = "/nowhere/at/all/registry.db", .key = &bench_key};
	char *error;

	CHECK_EQ(registry_open(&config, &bench.registry, &error), -ENOENT);
	CHECK(strstr(error, "no such folder"));
	free(error);
	bench.registry = NULL;
}
