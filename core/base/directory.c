// Makes names durable in their directory.
//
// A file's name is stored in its directory, and survives a power cut only after the directory was
// synced. directory_make() also syncs a directory that exists already: the process that made it may
// have ended before its own sync. It does not sync the files themselves.

#include "core/base/directory.h"

#include "core/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>

int directory_sync(const char *path)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int directory_sync_name(const char *path)
{
	_cleanup_(freep) char *copy = strdup(path);

	return copy ? directory_sync(dirname(copy)) : -ENOMEM;
}

int directory_make(const char *path)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	return directory_sync_name(path);
}
