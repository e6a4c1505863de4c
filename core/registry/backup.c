// Copies of the whole file while it is used, and back. SQLite's own copying is used both ways, so
// that a copy is always one transaction's state.
//
// What reads and checks has connections of its own and may run beside the portal's thread, which
// goes on committing (write-ahead log); only the replacing itself needs the registry.
//
// After a restore ids and revisions go on above both states: what the backends still hold of the
// time between keeps its physical names, and the proxies' deltas do not repeat a number. The source
// is drawn anew, so that every proxy takes a full snapshot.

#include "core/base/directory.h"
#include "core/registry/schema.h"
#include "core/registry/store.h"

#include <errno.h>
#include <stdio.h>

static int copy(sqlite3 *to, sqlite3 *from)
{
	sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
	int code;

	if (!backup)
		return db_error(sqlite3_errcode(to));
	code = sqlite3_backup_step(backup, -1);
	sqlite3_backup_finish(backup);
	return code == SQLITE_DONE ? 0 : code == SQLITE_OK ? -EIO : db_error(code);
}

int registry_backup(const struct registry *registry, const char *path)
{
	_cleanup_(freep) char *temporary = NULL;
	struct db source = {0}, target = {0};
	int r;

	if (access(path, F_OK) == 0)
		return -EEXIST;
	if (asprintf(&temporary, "%s.part", path) < 0)
		return -ENOMEM;
	unlink(temporary);
	r = store_make_private(temporary);
	if (r == 0)
		r = db_open(&target, temporary, SQLITE_OPEN_READWRITE);
	if (r == 0)
		r = db_open(&source, registry->path, SQLITE_OPEN_READONLY);
	if (r == 0)
		r = copy(target.sqlite, source.sqlite);
	db_close(&source);
	if (r == 0) // a file of its own, without a log beside it
		r = db_script(&target, "PRAGMA journal_mode = DELETE; DELETE FROM sessions");
	db_close(&target);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	else
		r = directory_sync_name(path);
	return r;
}

// Whole, of a schema that we know, and its credentials open with our key: all found out on a copy,
// before anything is replaced.
static int prepare(const struct registry *registry, const char *path, const char *prepared,
		   char **ret_error)
{
	struct registry_config config = {.key = &registry->key, .path = prepared};
	struct registry *opened;
	struct db source = {0}, target = {0};
	int r = db_open(&source, path, SQLITE_OPEN_READONLY);

	if (r == 0)
		r = store_make_private(prepared);
	if (r == 0)
		r = db_open(&target, prepared, SQLITE_OPEN_READWRITE);
	if (r == 0)
		r = copy(target.sqlite, source.sqlite);
	db_close(&source);
	db_close(&target);
	if (r == 0) {
		r = registry_open(&config, &opened, ret_error);
		if (r == 0)
			registry_close(opened);
	}
	return r;
}

static char *prepared_path(const struct registry *registry)
{
	char *path;

	return asprintf(&path, "%s.restore", registry->path) < 0 ? NULL : path;
}

void registry_restore_abandon(const struct registry *registry)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); ++i) {
		_cleanup_(freep) char *name = NULL;

		if (asprintf(&name, "%s.restore%s", registry->path, suffixes[i]) < 0)
			name = NULL;
		else
			unlink(name);
	}
}

int registry_restore_prepare(const struct registry *registry, const char *path, char **ret_error)
{
	_cleanup_(freep) char *prepared = prepared_path(registry);
	int r;

	*ret_error = NULL;
	if (!prepared)
		return -ENOMEM;
	registry_restore_abandon(registry); // of an earlier process
	r = prepare(registry, path, prepared, ret_error);
	if (r < 0)
		registry_restore_abandon(registry);
	return r;
}

static int replace(struct registry *registry, const char *prepared)
{
	uint64_t revision = registry->revision, next_id = registry->next_id;
	struct db source = {0};
	int r = db_open(&source, prepared, SQLITE_OPEN_READONLY);

	if (r == 0)
		r = operator_access_keep(&registry->db);
	if (r == 0)
		r = copy(registry->db.sqlite, source.sqlite);
	db_close(&source);
	if (r == 0)
		r = operator_access_put_back(&registry->db);
	if (r == 0)
		r = db_script(&registry->db, "DELETE FROM sessions; DELETE FROM gone;"
					     "DELETE FROM meta WHERE name = 'source'");
	if (r == 0)
		r = store_head_read(registry); // draws the new source
	if (r < 0)
		return r;
	registry->revision = MAX(registry->revision, revision) + 1;
	registry->next_id = MAX(registry->next_id, next_id);
	return store_head_write(registry, registry->revision, registry->next_id);
}

int registry_restore(struct registry *registry, const struct registry_actor *actor,
		     const char *path, struct registry_result *ret)
{
	_cleanup_(freep) char *prepared = prepared_path(registry);
	struct work work;
	int r = prepared ? replace(registry, prepared) : -ENOMEM;

	registry_restore_abandon(registry);
	if (r < 0) {
		work_open(&work, registry, ret);
		return work_close(&work, r);
	}
	r = work_begin(&work, registry, actor, ret);
	if (r == 0)
		r = audit_write(&work, "restore", "registry", path, NULL, NULL, NULL);
	r = work_end(&work, r);
	registry_publish(registry);
	return r;
}
