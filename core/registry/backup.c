// Copies the whole registry while it is used, and puts a copy back. SQLite's own copying is used
// both ways, so that a copy is always one transaction's state.
//
// Reading and checking use connections of their own and may run beside the portal's thread, which
// goes on committing (write-ahead log); only the replacement itself needs the registry.
//
// Here the copy is made, checked and put in its place. restore.c merges it with what was made,
// changed and deleted since the backup. The registry gets a new `source` number, so that every
// proxy takes a full snapshot.

#include "core/registry/backup.h"
#include "core/base/directory.h"
#include "core/base/log.h"
#include "core/registry/audit.h"
#include "core/registry/audit_head.h"
#include "core/registry/digest.h"
#include "core/registry/registry.h"
#include "core/registry/replace.h"
#include "core/registry/restore.h"
#include "core/registry/schema.h"
#include "core/registry/scrub.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdio.h>

static int copy_database(sqlite3 *to, sqlite3 *from)
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
		r = copy_database(target.sqlite, source.sqlite);
	db_close(&source);
	if (r == 0) // a file of its own, without a log beside it
		r = db_script(&target, "PRAGMA journal_mode = DELETE; DELETE FROM sessions");
	if (r == 0)
		r = digest_write(&target);
	db_close(&target);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	else
		r = directory_sync_name(path);
	return r;
}

static int copy_file(const char *from, const char *to)
{
	struct db source = {0}, target = {0};
	int r = db_open(&source, from, SQLITE_OPEN_READONLY);

	if (r == 0)
		r = store_make_private(to);
	if (r == 0)
		r = db_open(&target, to, SQLITE_OPEN_READWRITE);
	if (r == 0)
		r = copy_database(target.sqlite, source.sqlite);
	if (r == 0)
		r = store_check_pages(&target);
	if (r == 0)
		r = digest_check(&target);
	db_close(&source);
	db_close(&target);
	return r;
}

static int check_all(struct registry *registry)
{
	bool whole = true;
	int r = 0;

	for (unsigned kind = 0; kind < REGISTRY_KIND_COUNT && r == 0; ++kind)
		r = store_check_rows(registry, (enum registry_kind)kind);
	if (r == 0)
		r = audit_check(registry, &whole);
	if (r == 0 && !whole) // it was so when the copy was made: the digest fits
		log_error(NULL, "AUDIT-BROKEN", "the audit log of the copy was changed, or cut");
	return r;
}

int backup_take(const struct seal_key *key, const char *from, const char *to, char **ret_error)
{
	struct registry_config config = {.key = key, .path = to};
	struct registry *opened;
	int r = copy_file(from, to);

	if (r < 0)
		return r;
	r = registry_open(&config, &opened, ret_error);
	if (r < 0)
		return r;
	r = check_all(opened);
	registry_close(opened);
	return r;
}

static char *prepared_path(const struct registry *registry)
{
	char *path;

	return asprintf(&path, "%s.restore", registry->path) < 0 ? NULL : path;
}

void registry_backup_restore_abandon(const struct registry *registry)
{
	_cleanup_(freep) char *prepared = prepared_path(registry);

	if (prepared)
		replace_remove(prepared);
}

int registry_backup_restore_prepare(const struct registry *registry, const char *path,
				    char **ret_error)
{
	_cleanup_(freep) char *prepared = prepared_path(registry);
	int r;

	*ret_error = NULL;
	if (!prepared)
		return -ENOMEM;
	registry_backup_restore_abandon(registry); // of an earlier process
	r = backup_take(&registry->key, path, prepared, ret_error);
	if (r < 0)
		registry_backup_restore_abandon(registry);
	return r;
}

// The merged copy takes the registry's place in one transaction.
static int replace_database(struct registry *registry, const char *prepared)
{
	struct db source = {0};
	int r = db_open(&source, prepared, SQLITE_OPEN_READONLY);

	if (r == 0)
		r = copy_database(registry->db.sqlite, source.sqlite);
	db_close(&source);
	if (r == 0)
		r = head_read(&registry->db, &registry->head);
	if (r != 1)
		return r < 0 ? r : -EUCLEAN;
	audit_head_write(registry->audit_head, &registry->head);
	audit_head_tell(registry);
	registry_scrub_again(registry);
	return 0;
}

static int merge_copy(struct registry *registry, const struct registry_actor *actor,
		      const struct registry_backup_restore_how *how, const char *prepared,
		      struct registry_result *ret)
{
	struct registry_config config = {
		.key = &registry->key, .path = prepared, .now_ms = registry->now_ms};
	struct restore restore = {.known = registry,
				  .revive = how->revive,
				  .preview = how->preview,
				  .installation = registry->head.installation,
				  .path = how->path};
	_cleanup_(freep) char *error = NULL;
	int r = registry_open(&config, &restore.copy, &error);

	if (r < 0)
		return r;
	r = restore_merge(&restore, actor, ret);
	registry_close(restore.copy);
	return r;
}

int registry_backup_restore(struct registry *registry, const struct registry_actor *actor,
			    const struct registry_backup_restore_how *how,
			    struct registry_result *ret)
{
	_cleanup_(freep) char *prepared = prepared_path(registry);
	int r = prepared ? merge_copy(registry, actor, how, prepared, ret) : -ENOMEM;

	if (r == 0 && ret->code == CODE_OK && !how->preview)
		r = replace_database(registry, prepared);
	registry_backup_restore_abandon(registry);
	if (r < 0) {
		registry_result_deinit(ret);
		ret->code = CODE_INTERNAL;
		return r;
	}
	registry_publish(registry);
	return 0;
}
