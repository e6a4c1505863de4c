// The file `boot` of a D1 store: it shows after a start whether the machine went down while the
// store was open.
//
// The mark is one line: the id of the boot, a space, and the CRC-32C of the id in 8 digits. It is
// replaced by rename, so that after a crash there is the old mark, the new one or none.
//
// Invariant: the machine is taken to have gone down only if the mark is whole and names another
// boot. An empty or damaged mark is no proof, and would cost messages that the operating system has
// kept. The same holds where the system does not tell the id of its boot.
//
// Not here: what is done about it (store.c).

#include "adapters/store/boot.h"

#include "core/base/crc32c.h"
#include "core/base/directory.h"
#include "core/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define ID_MAX    64u
#define LINE_SIZE (ID_MAX + 16u)

// The id of this boot, "" when the system does not tell it.
static void id_read(char id[ID_MAX])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file || !fgets(id, ID_MAX, file))
		id[0] = '\0';
	if (file)
		fclose(file);
	id[strcspn(id, "\n")] = '\0';
}

static void line_make(const char *id, char line[LINE_SIZE])
{
	snprintf(line, LINE_SIZE, "%s %08x\n", id, crc32c(0, id, strlen(id)));
}

static char *file_name(const char *path, const char *name)
{
	char *file;

	return asprintf(&file, "%s/%s", path, name) < 0 ? NULL : file;
}

static enum boot_mark line_read(const char *line)
{
	char id[ID_MAX], was[ID_MAX] = "", whole[LINE_SIZE];
	size_t size = strcspn(line, " ");

	if (size == 0 || size >= sizeof was)
		return BOOT_UNREADABLE;
	memcpy(was, line, size);
	line_make(was, whole);
	if (strcmp(whole, line) != 0)
		return BOOT_UNREADABLE;
	id_read(id);
	return !*id ? BOOT_UNREADABLE : strcmp(was, id) == 0 ? BOOT_THIS : BOOT_OTHER;
}

int boot_read(const char *path, enum boot_mark *ret)
{
	_cleanup_(freep) char *name = file_name(path, "boot");
	_cleanup_(closep) int fd = -1;
	char line[LINE_SIZE + 1];
	ssize_t size;

	if (!name)
		return -ENOMEM;
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return -errno;
	*ret = BOOT_NONE;
	if (fd < 0)
		return 0;
	size = read(fd, line, LINE_SIZE);
	line[MAX(size, 0)] = '\0';
	*ret = line_read(line);
	return 0;
}

static int line_write(const char *name, const char *line)
{
	_cleanup_(closep) int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t size = (ssize_t)strlen(line), written;

	if (fd < 0)
		return -errno;
	written = write(fd, line, (size_t)size);
	if (written != size)
		return written < 0 ? -errno : -ENOSPC;
	return fsync(fd) < 0 ? -errno : 0;
}

int boot_mark(const char *path)
{
	_cleanup_(freep) char *name = file_name(path, "boot"),
			      *beside = file_name(path, "boot.new");
	char id[ID_MAX], line[LINE_SIZE];
	int r;

	if (!name || !beside)
		return -ENOMEM;
	id_read(id);
	line_make(*id ? id : "unknown", line);
	r = line_write(beside, line);
	if (r == 0 && rename(beside, name) < 0)
		r = -errno;
	return r < 0 ? r : directory_sync(path);
}

int boot_unmark(const char *path)
{
	_cleanup_(freep) char *name = file_name(path, "boot");

	if (!name)
		return -ENOMEM;
	if (unlink(name) < 0)
		return errno == ENOENT ? 0 : -errno;
	return directory_sync(path);
}
