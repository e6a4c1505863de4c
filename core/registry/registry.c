// Opens and closes the registry's file, and publishes: sends the changes that are on disk to the
// catalog.
//
// A publication that is lost (a crash right after the commit) is repeated at the next start,
// because the catalog's revision then lags behind.

#include "core/registry/registry.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/catalog/catalog.h"
#include "core/catalog/change.h"
#include "core/registry/audit_head.h"
#include "core/registry/checksum.h"
#include "core/registry/digest.h"
#include "core/registry/schema.h"
#include "core/registry/scrub.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define TELL_AUDIT_NS (60 * S_NS)

// ---- opening

static int open_error(int r, const char *path, char **ret_error)
{
	const char *why = r == -EUCLEAN ? "is damaged, or not a registry; put a backup back with "
					  "mqpaasd --restore FILE"
			  : r == -EBUSY ? "is locked by another process"
			  : r == -EKEYREJECTED
				  ? "holds credentials that the key given does not open"
			  : r == -ENOENT ? "cannot be made: there is no such folder"
					 : strerror(-r);

	if (!*ret_error && asprintf(ret_error, "registry %s: %s", path, why) < 0)
		*ret_error = NULL;
	return r;
}

static bool is_small(const char *path)
{
	struct stat found;

	return stat(path, &found) == 0 && found.st_size <= STORE_CHECKED_BYTES;
}

// What a file of an older schema lacks beside columns, and a new one altogether.
static int stamp_rows(void *ctx, int version)
{
	struct registry *registry = ctx;
	int r = 0;

	for (unsigned kind = 0; kind < REGISTRY_KIND_COUNT && r == 0 && version > 0; ++kind)
		r = row_stamp_all((enum registry_kind)kind, &registry->db, &registry->key);
	if (r == 0)
		r = head_read(&registry->db, &registry->head);
	return r == 0 ? head_make(&registry->db, &registry->head) : MIN(r, 0);
}

// -ENOTSUP and -EUCLEAN with a sentence of their own.
static int prepare_file(struct registry *registry, char **ret_error)
{
	struct db *db = &registry->db;
	int version = 0, r = is_small(registry->path) ? store_check_pages(db) : 0;

	if (r == 0)
		r = db_script(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				  "PRAGMA foreign_keys = OFF; PRAGMA cache_size = -16384");
	if (r == 0)
		r = schema_prepare(db, stamp_rows, registry, &version);
	if (r == SCHEMA_E_NEWER) {
		if (asprintf(ret_error,
			     "registry %s: has schema %d of a newer version; this one knows %d",
			     registry->path, version, SCHEMA_VERSION) < 0)
			*ret_error = NULL;
		return -ENOTSUP;
	}
	if (r == SCHEMA_E_FOREIGN)
		return -EUCLEAN;
	if (r == 0)
		r = db_script(db, "BEGIN IMMEDIATE"); // fails if another process holds a lock
	if (r == 0) {
		r = head_read(db, &registry->head);
		r = r == 1 ? 0 : r == 0 ? -EUCLEAN : r;
	}
	if (r == 0)
		r = db_script(db, "COMMIT");
	return r;
}

// Every stored credential must open: better now than when a cluster is needed. In a small file
// every row is looked at.
static int try_rows(struct registry *registry)
{
	int r = store_check_rows(registry, REGISTRY_CLUSTER);

	for (unsigned kind = 0; kind < REGISTRY_KIND_COUNT && r == 0; ++kind)
		if (is_small(registry->path) && kind != REGISTRY_CLUSTER)
			r = store_check_rows(registry, (enum registry_kind)kind);
	return r;
}

static int open_file(struct registry *registry, char **ret_error)
{
	int r = 0;

	for (unsigned kind = 0; kind < REGISTRY_KIND_COUNT && r == 0; ++kind)
		r = row_sql_make((enum registry_kind)kind, &registry->sql[kind]);
	if (r == 0)
		r = store_make_private(registry->path);
	if (r == 0)
		r = db_open(&registry->db, registry->path, SQLITE_OPEN_READWRITE);
	if (r == 0)
		r = prepare_file(registry, ret_error);
	if (r == 0)
		r = try_rows(registry);
	return r;
}

int registry_open(const struct registry_config *config, struct registry **ret, char **ret_error)
{
	struct registry *registry = calloc(1, sizeof *registry);
	int r;

	*ret_error = NULL;
	if (!registry)
		return -ENOMEM;
	registry->key = *config->key;
	registry->catalog = config->catalog;
	registry->validate = config->validate;
	registry->group_start = config->group_start;
	registry->durability = config->durability;
	registry->validate_ctx = config->validate_ctx;
	registry->now_ms = config->now_ms ? config->now_ms : clock_wall_ms;
	registry->path = strdup(config->path);
	registry->audit_head = config->audit_head ? strdup(config->audit_head) : NULL;
	r = registry->path && (!config->audit_head || registry->audit_head)
		    ? open_file(registry, ret_error)
		    : -ENOMEM;
	if (r < 0) {
		open_error(r, config->path, ret_error);
		registry_close(registry);
		return r;
	}
	audit_head_check(registry);
	registry_publish(registry);
	*ret = registry;
	return 0;
}

void registry_close(struct registry *registry)
{
	if (!registry)
		return;
	registry_scrub_stop(registry);
	db_close(&registry->db);
	for (unsigned kind = 0; kind < REGISTRY_KIND_COUNT; ++kind)
		row_sql_free(&registry->sql[kind]);
	explicit_bzero(&registry->key, sizeof registry->key);
	free(registry->path);
	free(registry->audit_head);
	free(registry->name);
	free(registry);
}

uint64_t registry_revision(struct registry *registry)
{
	return registry->head.revision;
}

uint64_t registry_installation(struct registry *registry)
{
	return registry->head.installation;
}

uint64_t registry_next_id(struct registry *registry)
{
	return registry->head.next_id;
}

uint64_t registry_source(struct registry *registry)
{
	return registry->head.source;
}

bool registry_is_empty(struct registry *registry)
{
	int64_t used = 0;

	return db_number(&registry->db, &used,
			 "SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM tenants)",
			 "") == 1 &&
	       !used;
}

int registry_attach(struct registry *registry, struct catalog *catalog, uint64_t least_id)
{
	struct head head = registry->head;
	int r = digest_drop(&registry->db);

	head.next_id = MAX(head.next_id, least_id);
	if (r == 0 && head.next_id != registry->head.next_id)
		r = head_write(&registry->db, &head);
	if (r < 0)
		return r;
	registry->head = head;
	registry->catalog = catalog;
	registry_publish(registry);
	return 0;
}

void registry_result_deinit(struct registry_result *result)
{
	free(result->text);
	json_decref(result->errors);
	json_decref(result->affected);
	json_decref(result->body);
	*result = (struct registry_result){0};
}

// ---- publishing

static int change_rows(struct registry *registry, struct change_writer *writer,
		       enum registry_kind kind, uint64_t from)
{
	struct registry_result result = {0};
	sqlite3_stmt *statement;
	int r = db_query(&registry->db, &statement, registry->sql[kind].newer, "i", (int64_t)from);

	while (r == 0 && (r = db_step(&registry->db, statement)) == 1) {
		struct work work;
		struct row row;

		work_open(&work, registry, &result);
		r = row_read(kind, statement, &registry->key, &work.arena, &row);
		if (r == 0)
			r = change_put(writer, &row.object);
		work_close(&work, 0);
	}
	if (r < 0)
		sqlite3_reset(statement);
	return r;
}

static int change_gone_rows(struct registry *registry, struct change_writer *writer, uint64_t from)
{
	sqlite3_stmt *statement;
	int r = db_query(&registry->db, &statement,
			 "SELECT kind, id, revision, crc FROM gone WHERE revision > ?1", "i",
			 (int64_t)from);

	while (r == 0 && (r = db_step(&registry->db, statement)) == 1) {
		int64_t kind = sqlite3_column_int64(statement, 0),
			id = sqlite3_column_int64(statement, 1),
			revision = sqlite3_column_int64(statement, 2);

		r = sqlite3_column_type(statement, 3) == SQLITE_NULL ||
				    sqlite3_column_int64(statement, 3) ==
					    (int64_t)checksum_values("iii", revision, kind, id)
			    ? change_gone(writer, (enum model_kind)kind, (uint64_t)id)
			    : -EUCLEAN;
		if (r < 0)
			sqlite3_reset(statement);
	}
	return r;
}

int registry_change(struct registry *registry, uint64_t source, uint64_t from,
		    struct catalog_change **ret)
{
	bool full = source != registry->head.source || from == 0 ||
		    from > registry->head.revision ||
		    from + STORE_GONE_KEPT < registry->head.revision;
	struct change_head head = {.full = full,
				   .source = registry->head.source,
				   .from = full ? 0 : from,
				   .to = registry->head.revision,
				   .installation = registry->head.installation,
				   .next_id = registry->head.next_id};
	struct change_writer writer;
	int r = change_begin(&writer, &head, &registry->key);

	if (r < 0)
		return r;
	if (!full)
		r = change_gone_rows(registry, &writer, from);
	if (r == -EUCLEAN) {
		log_error(NULL, "REGISTRY-DAMAGED",
			  "the list of what is gone does not have its checksums: a full snapshot "
			  "goes out instead");
		change_abandon(&writer);
		return registry_change(registry, 0, 0, ret);
	}
	for (unsigned kind = 0; kind < MODEL_KIND_COUNT && r == 0; ++kind)
		r = change_rows(registry, &writer, (enum registry_kind)kind, head.from);
	if (r < 0)
		change_abandon(&writer);
	else
		*ret = change_end(&writer);
	return r;
}

static int publish_from(struct registry *registry, uint64_t source, uint64_t from)
{
	_cleanup_(freep) struct catalog_change *change = NULL;
	int r = registry_change(registry, source, from, &change);

	return r < 0 ? r : catalog_apply(registry->catalog, change);
}

// At most once a minute: an entry that the log has named cannot be taken away unseen.
static void tell_audit_head(struct registry *registry)
{
	uint64_t now_ns = clock_now_ns();

	if (!registry->audit_head || now_ns - registry->told_ns < TELL_AUDIT_NS)
		return;
	registry->told_ns = now_ns;
	audit_head_tell(registry);
}

void registry_publish(struct registry *registry)
{
	struct catalog *catalog = registry->catalog;
	int r = 0;

	if (!catalog)
		return;
	tell_audit_head(registry);
	if (catalog_source(catalog) == registry->head.source &&
	    catalog_revision(catalog) == registry->head.revision)
		catalog_confirm(catalog, clock_now_ns());
	else
		r = publish_from(registry, catalog_source(catalog), catalog_revision(catalog));
	if (r == CATALOG_E_GAP)
		r = publish_from(registry, 0, 0);
	if (r != 0)
		log_error(NULL, "REGISTRY-PUBLISH", "revision %llu is not published: %s",
			  (unsigned long long)registry->head.revision,
			  r < 0 ? strerror(-r) : "the catalog refuses it");
}
