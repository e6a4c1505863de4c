// Exchanges the files of a registry for those of another, so that a crash leaves one of the two
// whole.
//
// A registry is up to three files: the database and its write-ahead log and index. They cannot be
// exchanged at once, and SQLite would apply an old log to a new database.
//
// So the exchange has a point of commitment, the renaming of the prepared file. Every step after it
// can be repeated, at the next start if a crash came between. The old files get a name made of the
// time of the prepared file. It is the same at the second try, so a database and its log never
// part.

#include "core/registry/replace.h"

#include "core/base/directory.h"
#include "core/base/util.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

// The database is the last to leave its name.
static const char *const suffixes[] = {"-journal", "-shm", "-wal", ""};

void replace_remove(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); ++i) {
		_cleanup_(freep) char *name = NULL;

		if (asprintf(&name, "%s%s", path, suffixes[i]) < 0)
			name = NULL;
		else
			unlink(name);
	}
}

char *replace_committed_path(const char *path)
{
	char *name;

	return asprintf(&name, "%s.restored", path) < 0 ? NULL : name;
}

int replace_is_pending(const char *path)
{
	_cleanup_(freep) char *committed = replace_committed_path(path);

	if (!committed)
		return -ENOMEM;
	return access(committed, F_OK) == 0;
}

// A database is all of it only when it was closed well: its log is then empty or gone.
static bool is_closed(const char *database)
{
	_cleanup_(freep) char *log = NULL;
	struct stat found;

	if (asprintf(&log, "%s-wal", database) < 0) {
		log = NULL;
		return false;
	}
	return stat(log, &found) < 0 ? errno == ENOENT : found.st_size == 0;
}

int replace_commit(const char *path)
{
	_cleanup_(freep) char *committed = replace_committed_path(path), *prepared = NULL;

	if (asprintf(&prepared, "%s.restore", path) < 0) {
		prepared = NULL;
		return -ENOMEM;
	}
	if (!committed)
		return -ENOMEM;
	if (!is_closed(prepared))
		return -EIO;
	if (rename(prepared, committed) < 0)
		return -errno;
	return directory_sync_name(path);
}

static char *aside_path(const char *path, const struct stat *committed)
{
	long long ms =
		(long long)committed->st_mtim.tv_sec * 1000 + committed->st_mtim.tv_nsec / 1000000;
	char *name;

	return asprintf(&name, "%s.before-restore-%lld", path, ms) < 0 ? NULL : name;
}

// *ret_any: something has the name that is set aside, now or since an earlier try.
static int move_aside(const char *path, const char *aside, const char *suffix, bool *ret_any)
{
	_cleanup_(freep) char *from = NULL, *to = NULL;
	int r = asprintf(&from, "%s%s", path, suffix);

	if (r >= 0)
		r = asprintf(&to, "%s%s", aside, suffix);
	if (r < 0)
		return -ENOMEM;
	if (rename(from, to) < 0 && errno != ENOENT)
		return -errno;
	*ret_any = *ret_any || access(to, F_OK) == 0;
	return 0;
}

static int set_aside(const char *path, const char *aside, bool *ret_any)
{
	*ret_any = false;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); ++i) {
		int r = move_aside(path, aside, suffixes[i], ret_any);

		if (r < 0)
			return r;
	}
	return directory_sync_name(path);
}

int replace_finish(const char *path, char **ret_aside)
{
	_cleanup_(freep) char *committed = replace_committed_path(path), *aside = NULL;
	struct stat found;
	bool any = false;
	int r;

	*ret_aside = NULL;
	if (!committed)
		return -ENOMEM;
	if (stat(committed, &found) < 0)
		return -errno;
	aside = aside_path(path, &found);
	r = aside ? set_aside(path, aside, &any) : -ENOMEM;
	if (r == 0 && rename(committed, path) < 0)
		r = -errno;
	if (r == 0)
		r = directory_sync_name(path);
	if (r == 0 && any) {
		*ret_aside = aside;
		aside = NULL;
	}
	return r;
}
