// Copies of the registry on the daemon's own disk: list, make, restore, all while it runs.
//
// A backup is a file NAME.db in DATA/backups. Before a restore the present state is kept as a
// backup of its own, so that a restore can be taken back.

#include "portal-api/crud.h"
#include "portal-api/handlers.h"

#include "core/base/clock.h"
#include "core/base/directory.h"
#include "core/base/util.h"
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

static json_t *describe(const struct call *call, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (path_of(call, name, path) < 0 || stat(path, &st) < 0)
		return NULL;
	return json_pack("{s:s, s:I, s:I}", "name", name, "bytes", (json_int_t)st.st_size,
			 "created_ms",
			 (json_int_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
}

static void failed(struct call *call, int r)
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
				json_t *item = describe(call, name);
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

// ---- create

// A copy under a name that is free. -EEXIST, or why it failed.
static int make_backup(struct call *call, const char *name)
{
	char path[PATH_MAX];
	int r = path_of(call, "", path);

	if (r < 0)
		return r;
	r = directory_make(path);
	if (r < 0)
		return r;
	r = path_of(call, name, path);
	return r < 0 ? r : registry_backup(call->portal->registry, path);
}

void backups_create(struct call *call)
{
	const char *name = json_string_value(json_object_get(call->body, "name"));
	char by_time[40], location[128];
	json_t *body;
	int r;

	snprintf(by_time, sizeof by_time, "at-%lld", (long long)clock_wall_ms());
	name = name ? name : by_time;
	if (!is_name(name)) {
		call_fail(call, CODE_BAD_REQUEST,
			  "/name: must be 1 to 64 lower-case letters, digits and '-', not begin "
			  "with '-'");
		return;
	}
	r = make_backup(call, name);
	if (r == -EEXIST) {
		call_fail(call, CODE_CONFLICT, "there is a backup \"%s\" already", name);
		return;
	}
	body = r < 0 ? NULL : describe(call, name);
	if (!body)
		failed(call, r < 0 ? r : -errno);
	else if (crud_note(call, "create", "backup", name, body)) {
		snprintf(location, sizeof location, "/api/v1/backups/%s", name);
		call_created(call, location, body);
	}
	json_decref(body);
}

// ---- restore

void backups_restore(struct call *call)
{
	struct registry_result result = {0};
	char path[PATH_MAX], before[40];
	uint64_t revision;
	int r;

	if (!is_name(call->params[0]) || path_of(call, call->params[0], path) < 0 ||
	    access(path, R_OK) < 0) {
		call_fail(call, CODE_NOT_FOUND, "there is no backup \"%s\"", call->params[0]);
		return;
	}
	snprintf(before, sizeof before, "before-restore-%lld", (long long)clock_wall_ms());
	r = make_backup(call, before);
	if (r < 0) {
		failed(call, r);
		return;
	}
	r = registry_restore(call->portal->registry, &call->actor, path, &result);
	if (call_refused(call, r, &result))
		return;
	registry_result_deinit(&result);
	revision = registry_revision(call->portal->registry);
	call_json(call, 200,
		  json_pack("{s:s, s:s, s:I}", "name", call->params[0], "saved_as", before,
			    "revision", (json_int_t)revision));
	portal_changed(call->portal);
}
