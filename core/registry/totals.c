// Keeps counters that go on across restarts of the daemon: a row for each object, replaced about
// once a minute.

#include "core/registry/totals.h"

#include "core/base/log.h"
#include "core/registry/checksum.h"
#include "core/registry/registry.h"
#include "core/registry/work.h"

#include <errno.h>

static int save_total(struct db *db, const struct registry_total *total)
{
	_cleanup_(freep) char *text = json_dumps(total->counters, JSON_COMPACT);

	if (!text)
		return -ENOMEM;
	return db_run(
		db, "INSERT OR REPLACE INTO totals VALUES(?1, ?2, ?3, ?4)", "iiti",
		(int64_t)total->kind, (int64_t)total->id, text,
		(int64_t)checksum_values("iit", (int64_t)total->kind, (int64_t)total->id, text));
}

// A row of a schema that had no checksums has none.
static bool is_good(sqlite3_stmt *statement)
{
	int64_t kind = sqlite3_column_int64(statement, 0), id = sqlite3_column_int64(statement, 1);
	const char *text = (const char *)sqlite3_column_text(statement, 2);

	if (sqlite3_column_type(statement, 3) == SQLITE_NULL ||
	    sqlite3_column_int64(statement, 3) == (int64_t)checksum_values("iit", kind, id, text))
		return true;
	log_error(NULL, "REGISTRY-DAMAGED",
		  "the totals of object %lld do not have their checksum: they begin anew",
		  (long long)id);
	return false;
}

int registry_totals_save(struct registry *registry, const struct registry_total *totals,
			 size_t count)
{
	struct db *db = &registry->db;
	int r = db_script(db, "BEGIN IMMEDIATE");

	if (r < 0)
		return r;
	for (size_t i = 0; i < count && r == 0; ++i)
		r = save_total(db, &totals[i]);
	if (r == 0)
		r = db_script(db, "COMMIT");
	if (r < 0)
		db_script(db, "ROLLBACK");
	return r;
}

int registry_totals_load(struct registry *registry,
			 void (*fn)(void *ctx, const struct registry_total *total), void *ctx)
{
	struct db *db = &registry->db;
	sqlite3_stmt *statement;
	int r = db_query(db, &statement, "SELECT kind, id, counters, crc FROM totals", "");

	while (r == 0 && (r = db_step(db, statement)) == 1) {
		const char *text = (const char *)sqlite3_column_text(statement, 2);
		json_t *counters = text && is_good(statement) ? json_loads(text, 0, NULL) : NULL;
		struct registry_total total = {
			.kind = (enum registry_kind)sqlite3_column_int(statement, 0),
			.id = (uint64_t)sqlite3_column_int64(statement, 1),
			.counters = counters,
		};

		if (counters)
			fn(ctx, &total);
		json_decref(counters);
		r = 0;
	}
	return r;
}
