// One flipped bit in each file that the registry writes: what is missing or different afterwards is
// said, by a refusal, an error, or a line of the log at level warn or above.
//
// A dump of everything that can be asked is compared with that of the whole file. 50 flips a file;
// MQPAAS_LONG makes them 1,000.

#include "tests/unit/registry/cases.h"

#include "core/base/log.h"
#include "core/catalog/change.h"
#include "core/registry/audit.h"
#include "core/registry/backup.h"
#include "core/registry/definitions.h"
#include "core/registry/identity.h"
#include "core/registry/page.h"
#include "core/registry/scrub.h"
#include "core/registry/totals.h"
#include "tests/unit/registry/bench.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

enum { FLIPS = 50, FLIPS_LONG = 1000, PAGE_BYTES = 4096 };

static unsigned said; // lines of the log

static void count_line(void *ctx, enum log_level level, const char *line, size_t size)
{
	(void)ctx;
	(void)line;
	(void)size;
	said += level >= LOG_WARN;
}

static unsigned flips(void)
{
	return getenv("MQPAAS_LONG") ? FLIPS_LONG : FLIPS;
}

// ---- files

struct bytes {
	uint8_t *data;
	size_t size;
};

static struct bytes file_read(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat state;
	struct bytes ret;

	CHECK(fd >= 0);
	CHECK_EQ(fstat(fd, &state), 0);
	ret.size = (size_t)state.st_size;
	ret.data = malloc(ret.size + 1);
	CHECK_EQ(read(fd, ret.data, ret.size), ret.size);
	close(fd);
	return ret;
}

static void file_write(const char *path, struct bytes bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK_EQ(write(fd, bytes.data, bytes.size), bytes.size);
	close(fd);
}

static void byte_write(const char *path, size_t at, uint8_t byte)
{
	int fd = open(path, O_WRONLY);

	CHECK_EQ(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

// ---- everything that can be asked

static bool list_all(json_t *dump, enum registry_kind kind, const char *tenant)
{
	const struct registry_query query = {.tenant = tenant, .limit = 500};
	struct registry_result result = {0};
	bool good =
		registry_page(bench.registry, kind, &query, &result) == 0 && result.code == CODE_OK;

	json_array_append_new(dump, good ? json_incref(result.body) : json_null());
	registry_result_deinit(&result);
	return good;
}

static void add_total(void *ctx, const struct registry_total *total)
{
	json_array_append_new(ctx, json_pack("[I, I, O]", (json_int_t)total->kind,
					     (json_int_t)total->id, total->counters));
}

static bool dump_result(json_t *dump, int r, struct registry_result *result)
{
	bool good = r == 0 && result->code == CODE_OK;

	json_array_append_new(dump, good ? json_incref(result->body) : json_null());
	registry_result_deinit(result);
	return good;
}

static const char *bearer, *token;

static bool dump_callers(json_t *dump)
{
	struct registry_identity identity;
	struct registry_identity_password password = {0};
	bool good = true;

	if (bearer) { // a copy has no sessions
		good = registry_identity_authenticate(bench.registry, bearer, &identity) == 0;
		json_array_append_new(dump,
				      json_pack("[I, s, I]", (json_int_t)identity.id, identity.name,
						(json_int_t)identity.expires_ms));
	}
	good &= registry_identity_authenticate(bench.registry, token, &identity) == 0;
	json_array_append_new(dump, json_pack("[I, s]", (json_int_t)identity.id, identity.name));
	good &= registry_identity_password_look(bench.registry, "dev", &password) == 0;
	json_array_append_new(dump, json_string(password.encoded));
	return good;
}

// Rows of a full snapshot, and of a delta, as far as they are the same each time: no secrets are in
// it.
static bool dump_change(json_t *dump, uint64_t from)
{
	struct catalog_change *change = NULL;
	struct change_reader reader;
	struct change_row row;
	bool good = registry_change(bench.registry, registry_source(bench.registry), from,
				    &change) == 0 &&
		    change_open(&reader, change->data, change->size, &bench_key) == 0;

	json_array_append_new(dump, json_integer(good ? reader.head.full : 0));
	while (good && change_next(&reader, &row) == 1) {
		json_array_append_new(
			dump, json_pack("[i, I, I]", (int)row.kind, (json_int_t)row.id,
					(json_int_t)(row.object ? row.object->revision : 0)));
		model_unref(row.object);
	}
	if (good)
		change_close(&reader);
	free(change);
	return good;
}

// False: a call failed, which is said.
static bool dump_all(json_t *dump, uint64_t delta_from)
{
	const struct registry_query audit = {.limit = 500};
	struct registry_result result = {0};
	bool good = true;
	int r;

	for (enum registry_kind kind = 0; kind < REGISTRY_KIND_COUNT; ++kind)
		good &= list_all(dump, kind,
				 kind == REGISTRY_TOPIC || kind == REGISTRY_GROUP ||
						 kind == REGISTRY_ACCESS_KEY
					 ? "acme"
					 : NULL);
	r = registry_audit_list(bench.registry, &audit, &result);
	good &= dump_result(dump, r, &result);
	r = registry_audit_verify(bench.registry, NULL, &result);
	good &= json_is_true(json_object_get(result.body, "ok"));
	good &= dump_result(dump, r, &result);
	r = registry_definitions_export(bench.registry, &result);
	good &= dump_result(dump, r, &result);
	good &= registry_totals_load(bench.registry, add_total, dump) == 0;
	good &= dump_callers(dump);
	good &= dump_change(dump, 0) && dump_change(dump, delta_from);
	json_array_append_new(dump, json_pack("[I, I, I, I]",
					      (json_int_t)registry_revision(bench.registry),
					      (json_int_t)registry_next_id(bench.registry),
					      (json_int_t)registry_source(bench.registry),
					      (json_int_t)registry_installation(bench.registry)));
	return good;
}

// NULL: it was refused, or a call failed.
static json_t *open_and_dump(uint64_t delta_from)
{
	json_t *dump = json_array();
	char *error = NULL;
	bool good = bench_try_open(&error) == 0;

	free(error);
	if (good) {
		good = dump_all(dump, delta_from);
		registry_close(bench.registry);
	}
	bench.registry = NULL;
	if (good)
		return dump;
	json_decref(dump);
	return NULL;
}

// ---- the world, with a row in every table

static uint64_t world_make(void)
{
	static char session[REGISTRY_TOKEN_SIZE], machine[REGISTRY_TOKEN_SIZE];
	json_t *counters = json_pack("{s:i}", "messages", 5);
	struct registry_total total = {REGISTRY_TOPIC, 3, counters};
	struct registry_identity_password check;
	uint64_t before;

	bench_acme_with_group();
	CHECK_EQ(bench_create(REGISTRY_ACCESS_KEY, "acme", "{\"description\":\"for people\"}"),
		 CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_USER, NULL,
			      "{\"name\":\"dev\",\"role\":\"developer\",\"tenant\":\"acme\","
			      "\"password\":\"0123456789ab\"}"),
		 CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TOKEN, NULL, "{\"name\":\"ci\",\"role\":\"operator\"}"),
		 CODE_OK);
	snprintf(machine, sizeof machine, "%s", bench_text("token"));
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"gone\"}"), CODE_OK);
	bench_settle();
	before = registry_revision(bench.registry);
	CHECK_EQ(bench_drop(REGISTRY_TOPIC, "acme", "gone", false), CODE_OK);
	bench_settle();
	CHECK_EQ(registry_totals_save(bench.registry, &total, 1), 0);
	registry_result_deinit(&bench.result);
	CHECK_EQ(registry_identity_password_look(bench.registry, "dev", &check), 0);
	registry_identity_password_compare(&check, "0123456789ab");
	CHECK_EQ(bench_outcome(registry_identity_login(bench.registry, NULL, "dev", &check,
						       &bench.result)),
		 CODE_OK);
	snprintf(session, sizeof session, "%s", bench_text("token"));
	bearer = session;
	token = machine;
	json_decref(counters);
	return before;
}

static void world_begin(void)
{
	snprintf(bench.audit_path, sizeof bench.audit_path, "%s/audit-head", bench.directory);
	log_set_sink(count_line, NULL);
}

static void world_end(void)
{
	unlink(bench.audit_path);
	bench.audit_path[0] = '\0';
	bench_end();
	log_set_sink(bench_drop_line, NULL);
}

// ---- flipping

static uint64_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

struct pages {
	sqlite3_int64 at[32]; // from 1
	size_t count;
};

struct flipping {
	const char *path; // of the file that is flipped
	// Answers whether something is missing or different; `said` tells whether that was said.
	bool (*differs)(void *ctx);
	void (*restore)(void *ctx); // what a round may have written
	void *ctx;
	struct pages pages; // that are worth a flip more than others
};

// Where the tables begin, but for the audit log, which fills most of a young registry.
static void pages_find(struct pages *pages, const char *path)
{
	static const char sql[] = "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND"
				  " name NOT IN ('audit')";
	sqlite3 *direct;
	sqlite3_stmt *statement;

	CHECK_EQ(sqlite3_open(path, &direct), SQLITE_OK);
	CHECK_EQ(sqlite3_prepare_v2(direct, sql, -1, &statement, NULL), SQLITE_OK);
	pages->count = 0;
	while (sqlite3_step(statement) == SQLITE_ROW && pages->count < ARRAY_SIZE(pages->at))
		pages->at[pages->count++] = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	sqlite3_close(direct);
}

// Four of five flips go to pages that are named, if any are. Most of a page is room that holds
// nothing: a place where something stands is looked for.
static size_t flip_place(const struct bytes *whole, const struct pages *pages, uint64_t *random)
{
	size_t from = 0, size = whole->size, at;

	if (pages->count && random_next(random) % 5) {
		from = (size_t)(pages->at[random_next(random) % pages->count] - 1) * PAGE_BYTES;
		size = PAGE_BYTES;
	}
	at = from + random_next(random) % size;
	for (unsigned tries = 0; tries < 50 && whole->data[at] == 0; ++tries)
		at = from + random_next(random) % size;
	return at;
}

static void flip_all(const char *name, const struct flipping *flipping)
{
	struct bytes whole = file_read(flipping->path);
	uint64_t random = 4711;
	unsigned harmless = 0;

	flipping->restore(flipping->ctx);
	said = 0;
	CHECK(!flipping->differs(flipping->ctx)); // without a flip
	CHECK_EQ(said, 0);
	for (unsigned i = 0; i < flips(); ++i) {
		size_t at = flip_place(&whole, &flipping->pages, &random);
		uint8_t bit = (uint8_t)(1u << random_next(&random) % 8);
		bool differs;

		flipping->restore(flipping->ctx);
		whole.data[at] ^= bit;
		file_write(flipping->path, whole);
		whole.data[at] ^= bit;
		said = 0;
		differs = flipping->differs(flipping->ctx);
		harmless += !differs && !said;
		if (differs && !said) {
			fprintf(stderr,
				"%s: bit %02x of byte %zu: different, and nothing is said\n", name,
				bit, at);
			CHECK(!"said");
		}
	}
	fprintf(stderr, "%s: %zu bytes, %u flips, %u of them harmless\n", name, whole.size, flips(),
		harmless);
	file_write(flipping->path, whole);
	free(whole.data);
}

// ---- the registry's own file and its write-ahead log

struct database {
	struct bytes db, wal, head;
	uint64_t delta_from;
	json_t *expected;
};

static void database_restore(void *ctx)
{
	const struct database *database = ctx;

	unlink(bench.shm_path);
	unlink(bench.wal_path);
	file_write(bench.db_path, database->db);
	if (database->wal.data)
		file_write(bench.wal_path, database->wal);
	file_write(bench.audit_path, database->head);
}

static bool database_differs(void *ctx)
{
	const struct database *database = ctx;
	json_t *dump = open_and_dump(database->delta_from);
	bool same = dump && json_equal(dump, database->expected);

	said += !dump;
	json_decref(dump);
	return !same;
}

static void database_flip(const char *name, bool killed)
{
	struct database database = {0};
	struct flipping flipping = {killed ? bench.wal_path : bench.db_path, database_differs,
				    database_restore, &database};
	struct catalog *catalog;

	world_begin();
	database.delta_from = world_make();
	catalog = bench.catalog;
	bench.catalog = NULL; // the dumps ask the registry alone
	if (killed) {
		database.db = file_read(bench.db_path);
		database.wal = file_read(bench.wal_path);
		registry_close(bench.registry);
	} else {
		registry_close(bench.registry);
		database.db = file_read(bench.db_path);
	}
	database.head = file_read(bench.audit_path);
	database_restore(&database);
	database.expected = open_and_dump(database.delta_from);
	CHECK(database.expected != NULL);
	if (!killed)
		pages_find(&flipping.pages, bench.db_path);
	database_restore(&database);
	flip_all(name, &flipping);
	json_decref(database.expected);
	free(database.db.data);
	free(database.wal.data);
	free(database.head.data);
	bench.catalog = catalog;
	world_end();
}

void flips_in_the_registry(void)
{
	database_flip("registry.db", false);
}

// While it is open: what is read is checked, and the look at the whole finds what is not read.
void damage_under_a_running_registry(void)
{
	const char text[] = "for people";
	struct bytes whole;
	bool stop = false;
	uint8_t *at;

	world_begin();
	world_make();
	CHECK(registry_scrub(bench.registry));
	CHECK_EQ(registry_scrub_start(bench.registry), 0); // it waits, and ends with the registry
	registry_close(bench.registry);
	whole = file_read(bench.db_path);
	at = memmem(whole.data, whole.size, text, strlen(text));
	CHECK(at != NULL);
	bench_reopen();
	byte_write(bench.db_path, (size_t)(at - whole.data), *at ^ 1);
	said = 0;
	CHECK(!registry_scrub(bench.registry));
	CHECK(said > 0);
	said = 0;
	stop = true;
	CHECK(registry_scrub_until(bench.registry, &stop)); // it has ended before it found it
	CHECK_EQ(said, 0);
	byte_write(bench.db_path, (size_t)(at - whole.data), *at);
	CHECK(registry_scrub(bench.registry));
	free(whole.data);
	world_end();
}

// ---- the registry while it is open and written to

// The first outcome that is not OK, as a warning would be.
static void write_more(void)
{
	json_t *counters = json_pack("{s:i}", "messages", 9);
	struct registry_total total = {REGISTRY_TOPIC, 3, counters};

	said += bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"later\"}") != CODE_OK;
	said += bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"latest\"}") != CODE_OK;
	said += registry_totals_save(bench.registry, &total, 1) != 0;
	json_decref(counters);
}

// What is asked, written and asked again, then after a restart; NULL: something was refused.
static json_t *run_and_dump(const struct database *database, const struct bytes *flipped, size_t at)
{
	json_t *dump = json_array(), *after;
	char *error = NULL;
	bool good = bench_try_open(&error) == 0;

	free(error);
	if (good && at % 2)
		dump_all(dump,
			 database->delta_from); // what SQLite has in memory is used from there
	json_array_clear(dump);
	if (good && flipped)
		byte_write(bench.db_path, at, flipped->data[at]);
	if (good) {
		write_more();
		good = dump_all(dump, database->delta_from);
		registry_scrub(bench.registry);
		registry_close(bench.registry);
	}
	bench.registry = NULL;
	after = open_and_dump(database->delta_from);
	good = good && after;
	said += !good;
	if (after)
		json_array_append_new(dump, after);
	return dump;
}

static bool running_differs(const struct database *database, const struct bytes *flipped, size_t at)
{
	json_t *dump = run_and_dump(database, flipped, at);
	bool same = json_equal(dump, database->expected);

	json_decref(dump);
	return !same;
}

static void running_flip_all(struct database *database, const struct pages *pages)
{
	struct bytes whole = database->db;
	uint64_t random = 4711;
	unsigned harmless = 0;

	for (unsigned i = 0; i < flips(); ++i) {
		size_t at = flip_place(&whole, pages, &random);
		uint8_t bit = (uint8_t)(1u << random_next(&random) % 8);
		bool differs;

		database_restore(database);
		said = 0;
		whole.data[at] ^= bit;
		differs = running_differs(database, &whole, at);
		whole.data[at] ^= bit;
		harmless += !differs && !said;
		if (differs && !said)
			fprintf(stderr, "running: bit %02x of byte %zu: different and not said\n",
				bit, at);
		CHECK(!differs || said);
	}
	fprintf(stderr, "registry.db, running: %zu bytes, %u flips, %u of them harmless\n",
		whole.size, flips(), harmless);
}

void flips_in_a_running_registry(void)
{
	struct database database = {0};
	struct pages pages;
	struct catalog *catalog;

	world_begin();
	database.delta_from = world_make();
	catalog = bench.catalog;
	bench.catalog = NULL;
	registry_close(bench.registry);
	database.db = file_read(bench.db_path);
	database.head = file_read(bench.audit_path);
	pages_find(&pages, bench.db_path);
	database_restore(&database);
	database.expected = run_and_dump(&database, NULL, 0);
	database_restore(&database);
	said = 0;
	CHECK(!running_differs(&database, NULL, 1)); // without a flip
	CHECK_EQ(said, 0);
	running_flip_all(&database, &pages);
	database_restore(&database);
	json_decref(database.expected);
	free(database.db.data);
	free(database.head.data);
	bench.catalog = catalog;
	world_end();
}

void flips_in_its_log(void)
{
	database_flip("registry.db-wal", true);
}

void flips_in_the_audit_head(void)
{
	struct database database = {0};
	struct flipping flipping = {bench.audit_path, database_differs, database_restore,
				    &database};
	struct catalog *catalog;

	world_begin();
	database.delta_from = world_make();
	catalog = bench.catalog;
	bench.catalog = NULL;
	registry_close(bench.registry);
	database.db = file_read(bench.db_path);
	database.head = file_read(bench.audit_path);
	database.expected = open_and_dump(database.delta_from);
	flip_all("audit-head", &flipping);
	json_decref(database.expected);
	free(database.db.data);
	free(database.head.data);
	bench.catalog = catalog;
	world_end();
}

// ---- a backup

struct backup {
	struct bytes file;
	json_t *expected;
};

static void backup_restore(void *ctx)
{
	const struct backup *backup = ctx;

	file_write(bench.backup_path, backup->file);
}

// Everything in the copy that a restore would put in place; NULL: it is refused.
static json_t *prepared_dump(void)
{
	_cleanup_(freep) char *error = NULL;
	struct registry *registry = bench.registry;
	char path[sizeof bench.db_path];
	json_t *dump = NULL;

	if (registry_backup_restore_prepare(registry, bench.backup_path, &error) < 0)
		return NULL;
	memcpy(path, bench.db_path, sizeof path);
	snprintf(bench.db_path, sizeof bench.db_path, "%.64s.restore", path);
	dump = open_and_dump(1);
	memcpy(bench.db_path, path, sizeof path);
	bench.registry = registry;
	registry_backup_restore_abandon(registry);
	return dump;
}

// Nothing but a refusal counts: what the log says after a restore is too late.
static bool backup_differs(void *ctx)
{
	const struct backup *backup = ctx;
	json_t *dump = prepared_dump();
	bool same = dump && json_equal(dump, backup->expected);

	said = !dump;
	json_decref(dump);
	return !same;
}

void flips_in_a_backup(void)
{
	struct backup backup = {0};
	struct flipping flipping = {bench.backup_path, backup_differs, backup_restore, &backup};
	struct catalog *catalog;
	char audit_path[sizeof bench.audit_path];

	world_begin();
	world_make();
	catalog = bench.catalog;
	bench.catalog = NULL;
	bearer = NULL;
	memcpy(audit_path, bench.audit_path, sizeof audit_path);
	bench.audit_path[0] = '\0'; // the copy has none
	CHECK_EQ(registry_backup(bench.registry, bench.backup_path), 0);
	backup.file = file_read(bench.backup_path);
	backup.expected = prepared_dump();
	CHECK(backup.expected != NULL);
	pages_find(&flipping.pages, bench.backup_path);
	flip_all("backup", &flipping);
	json_decref(backup.expected);
	free(backup.file.data);
	memcpy(bench.audit_path, audit_path, sizeof audit_path);
	bench.catalog = catalog;
	world_end();
}

// ---- the last good copy

struct stored {
	struct bytes file;
	json_t *expected;
};

static void stored_restore(void *ctx)
{
	const struct stored *stored = ctx;

	file_write(bench.copy_path, stored->file);
}

static void add_object(void *ctx, const struct model_object *object)
{
	char key[48], *name = *(char *const *)(const void *)(object + 1);

	snprintf(key, sizeof key, "%u/%llu/%llu", object->kind, (unsigned long long)object->id,
		 (unsigned long long)object->revision);
	json_object_set_new(ctx, key, json_string(name));
}

static json_t *stored_dump(void)
{
	struct catalog *catalog = NULL;
	json_t *dump = json_object();
	int r = catalog_new(bench.copy_path, &bench_key, &catalog);

	said += r != 0;
	for (enum model_kind kind = 0; kind < MODEL_KIND_COUNT && r >= 0; ++kind)
		catalog_each(catalog, kind, add_object, dump);
	if (r >= 0) {
		json_object_set_new(dump, "head",
				    json_pack("[I, I, I]", (json_int_t)catalog_revision(catalog),
					      (json_int_t)catalog_next_id(catalog),
					      (json_int_t)catalog_installation(catalog)));
		catalog_free(catalog);
	}
	return dump;
}

static bool stored_differs(void *ctx)
{
	const struct stored *stored = ctx;
	json_t *dump = stored_dump();
	bool same = json_equal(dump, stored->expected);

	json_decref(dump);
	return !same;
}

void flips_in_the_last_good_copy(void)
{
	struct stored stored = {0};
	struct flipping flipping = {bench.copy_path, stored_differs, stored_restore, &stored};
	char aside[96];

	world_begin();
	world_make();
	stored.file = file_read(bench.copy_path);
	stored.expected = stored_dump();
	flip_all("catalog", &flipping);
	snprintf(aside, sizeof aside, "%s.damaged", bench.copy_path);
	CHECK_EQ(access(aside, F_OK), 0); // nothing is thrown away
	unlink(aside);
	json_decref(stored.expected);
	free(stored.file.data);
	world_end();
}
