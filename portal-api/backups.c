// Copies of the registry on the daemon's own disk: list, make, restore, all while it runs.
//
// A backup is a file NAME.db in DATA/backups. Before a restore the present state is kept as a
// backup of its own, so that a restore can be taken back. What needs the disk runs as a background
// job; the exchange itself runs on the portal's thread.
//
// Invariants: one restore is under way at a time; a restore that was prepared is either carried out
// or abandoned. Names are checked before they become paths. Not here: what becomes of what was
// made, deleted and revoked since (core/registry/restore.c).

#include "portal-api/crud.h"
#include "portal-api/handlers.h"

#include "core/base/clock.h"
#include "core/base/directory.h"
#include "core/base/util.h"
#include "core/registry/backup.h"
#include "portal-api/state.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum { NAME_MOST = 64 };

static const char suffix[] = ".db";

static bool is_name(const char *name)
{
	size_t size = strlen(name);

	return size >= 1 && size <= NAME_MOST && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

static int path_of(const struct call *call, const char *name, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/backups%s%s%s", call->portal->config.data_dir,
			 *name ? "/" : "", name, *name ? suffix : "");

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static json_t *describe_backup(const struct call *call, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (path_of(call, name, path) < 0 || stat(path, &st) < 0)
		return NULL;
	return json_pack("{s:s, s:I, s:I}", "name", name, "bytes", (json_int_t)st.st_size,
			 "created_ms",
			 (json_int_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
}

static void fail_copying(struct call *call, int r)
{
	call_fail(call, CODE_INTERNAL, "the backup could not be written or read: %s", strerror(-r));
}

// ---- list

static int only_backups(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);
	char name[NAME_MOST + 1];

	if (size <= sizeof suffix - 1 || size - (sizeof suffix - 1) > NAME_MOST ||
	    strcmp(entry->d_name + size - (sizeof suffix - 1), suffix) != 0)
		return 0;
	snprintf(name, sizeof name, "%.*s", (int)(size - (sizeof suffix - 1)), entry->d_name);
	return is_name(name);
}

void backups_list(struct call *call)
{
	size_t limit = (size_t)call->query[LIST_LIMIT].integer;
	const char *cursor = call->query[LIST_CURSOR].text;
	json_t *items = json_array(), *next = NULL;
	struct dirent **entries = NULL;
	char path[PATH_MAX];
	int r = path_of(call, "", path), count;

	count = r < 0 ? 0 : scandir(path, &entries, only_backups, alphasort);
	for (int i = 0; i < count; ++i) {
		char *name = entries[i]->d_name;

		name[strlen(name) - (sizeof suffix - 1)] = '\0';
		if (!cursor || strcmp(name, cursor) > 0) {
			if (json_array_size(items) < limit) {
				json_t *item = describe_backup(call, name);
				if (item)
					json_array_append_new(items, item);
			} else if (!next) {
				next = json_incref(
					json_object_get(json_array_get(items, limit - 1), "name"));
			}
		}
		free(entries[i]);
	}
	free(entries);
	call_json(call, 200,
		  json_pack("{s:o, s:o}", "items", items, "next", next ? next : json_null()));
}

// ---- the disk's part, in the background

struct copying {
	struct registry *registry;
	char folder[PATH_MAX];
	char saved_path[PATH_MAX], saved[NAME_MOST + 1]; // the backup that is made
	char from_path[PATH_MAX];                        // the one to restore
	uint64_t revision;                               // when it began
	bool preview, revive;
	int r;
	char why[300]; // the one to restore cannot be used; "": the copying itself failed
};

static void save_backup(void *job)
{
	struct copying *copying = job;

	copying->r = directory_make(copying->folder);
	if (copying->r == 0)
		copying->r = registry_backup(copying->registry, copying->saved_path);
}

// NULL: there is no memory, or no such path.
static struct copying *copying_new(const struct call *call, const char *saved)
{
	struct copying *copying = calloc(1, sizeof *copying);

	if (!copying)
		return NULL;
	copying->registry = call->portal->registry;
	copying->revision = registry_revision(copying->registry);
	snprintf(copying->saved, sizeof copying->saved, "%s", saved);
	if (path_of(call, "", copying->folder) == 0 &&
	    path_of(call, saved, copying->saved_path) == 0)
		return copying;
	free(copying);
	return NULL;
}

// ---- create

static void answer_created(struct call *call)
{
	const struct copying *copying = call->job;
	char location[128];
	json_t *body;

	if (copying->r == -EEXIST) {
		call_fail(call, CODE_CONFLICT, "there is a backup \"%s\" already", copying->saved);
		return;
	}
	body = copying->r < 0 ? NULL : describe_backup(call, copying->saved);
	if (!body)
		fail_copying(call, copying->r < 0 ? copying->r : -errno);
	else if (crud_note(call, "create", "backup", copying->saved, body)) {
		snprintf(location, sizeof location, "/api/v1/backups/%s", copying->saved);
		call_created(call, location, body);
	}
	json_decref(body);
}

void backups_create(struct call *call)
{
	const char *name = json_string_value(json_object_get(call->body, "name"));
	char by_time[40];

	snprintf(by_time, sizeof by_time, "at-%lld", (long long)clock_wall_ms());
	name = name ? name : by_time;
	if (!is_name(name)) {
		call_fail(call, CODE_BAD_REQUEST,
			  "/name: must be 1 to 64 lower-case letters, digits and '-', not begin "
			  "with '-'");
		return;
	}
	call_in_background(call, copying_new(call, name), save_backup, answer_created);
}

// ---- restore

static bool is_of_the_machine(int r)
{
	return r == -ENOMEM || r == -ENOSPC || r == -EIO;
}

static void prepare_and_save(void *job)
{
	_cleanup_(freep) char *error = NULL;
	struct copying *copying = job;

	copying->r = registry_backup_restore_prepare(copying->registry, copying->from_path, &error);
	if (copying->r < 0) {
		if (!is_of_the_machine(copying->r))
			snprintf(copying->why, sizeof copying->why, "%s",
				 error ? error : strerror(-copying->r));
		return;
	}
	if (copying->preview)
		return;
	save_backup(job);
	if (copying->r < 0)
		registry_backup_restore_abandon(copying->registry);
}

// What was changed since the present state was saved would be in neither of the two: it is saved
// once more, here, where nothing can change meanwhile.
static void save_changes(struct copying *copying)
{
	if (copying->r < 0 || copying->preview ||
	    registry_revision(copying->registry) == copying->revision)
		return;
	unlink(copying->saved_path);
	save_backup(copying);
	if (copying->r < 0)
		registry_backup_restore_abandon(copying->registry);
}

// The last steps of a restore, on the portal's thread, where nothing can change the registry
// between them. The caller's permission is checked again, since preparing may have taken long.
static void answer_restored(struct call *call)
{
	struct copying *copying = call->job;
	struct registry_result result = {0};
	struct registry_backup_restore_how how;
	json_t *body;
	int r;

	call->portal->restoring = false;
	if (copying->r == 0 && !call_still_allowed(call)) {
		registry_backup_restore_abandon(copying->registry);
		return;
	}
	save_changes(copying);
	if (copying->r < 0 && *copying->why) {
		call_fail(call, CODE_BAD_REQUEST, "the backup cannot be used: %s", copying->why);
		return;
	}
	if (copying->r < 0) {
		fail_copying(call, copying->r);
		return;
	}
	how = (struct registry_backup_restore_how){
		.path = copying->from_path, .revive = copying->revive, .preview = copying->preview};
	r = registry_backup_restore(copying->registry, &call->actor, &how, &result);
	if (call_refused(call, r, &result))
		return;
	body = json_incref(result.body);
	registry_result_deinit(&result);
	json_object_set_new(body, "name", json_string(call->params[0]));
	json_object_set_new(body, "saved_as",
			    copying->preview ? json_null() : json_string(copying->saved));
	json_object_set_new(body, "revision",
			    json_integer((json_int_t)registry_revision(copying->registry)));
	call_json(call, 200, body);
	state_wake_reconciler(call->portal);
}

void backups_restore(struct call *call)
{
	char path[PATH_MAX], before[40];
	struct copying *copying;

	if (!is_name(call->params[0]) || path_of(call, call->params[0], path) < 0 ||
	    access(path, R_OK) < 0) {
		call_fail(call, CODE_NOT_FOUND, "there is no backup \"%s\"", call->params[0]);
		return;
	}
	if (call->portal->restoring) {
		call_fail(call, CODE_CONFLICT, "another restore is under way");
		return;
	}
	snprintf(before, sizeof before, "before-restore-%lld", (long long)clock_wall_ms());
	copying = copying_new(call, before);
	if (copying) {
		memcpy(copying->from_path, path, sizeof path);
		copying->preview = call->query[0].integer;
		copying->revive = call->query[1].integer;
	}
	call->portal->restoring =
		call_in_background(call, copying, prepare_and_save, answer_restored);
}
