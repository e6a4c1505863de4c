// A file with a secret is written beside, synced and renamed, so that a crash leaves it whole or
// absent; one that others could read is refused.

#include "server/files.h"

#include "core/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#define SECRET_SIZE 32

static char *problem(const char *fmt, ...) PRINTF_LIKE(1, 2);
static char *problem(const char *fmt, ...)
{
	char *text;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	return text;
}

static int directories_make(const char *path)
{
	_cleanup_(freep) char *copy = strdup(path);

	for (char *slash = strchr(copy + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			return -errno;
		if (!slash)
			return 0;
		*slash = '/';
	}
}

char *files_lock(const char *data_dir, int *ret_fd)
{
	_cleanup_(freep) char *path = NULL;
	_cleanup_(closep) int fd = -1;
	char holder[32] = "";
	int r = directories_make(data_dir);

	if (r < 0)
		return problem("data directory %s: %s", data_dir, strerror(-r));
	if (asprintf(&path, "%s/lock", data_dir) < 0)
		abort();
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return problem("%s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		ssize_t size = read(fd, holder, sizeof holder - 1);

		holder[size > 0 ? size : 0] = '\0';
		holder[strcspn(holder, "\n")] = '\0';
		return problem("data directory %s is in use by process %s; stop it, or choose "
			       "another with --data-dir",
			       data_dir, *holder ? holder : "?");
	}
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
		return problem("%s: %s", path, strerror(errno));
	*ret_fd = fd;
	fd = -1;
	return NULL;
}

char *files_write_private(const char *path, const char *text)
{
	_cleanup_(freep) char *beside = NULL;
	_cleanup_(closep) int fd = -1;

	if (asprintf(&beside, "%s.new", path) < 0)
		abort();
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd) < 0 ||
	    rename(beside, path) < 0)
		return problem("%s: %s", path, strerror(errno));
	return NULL;
}

static char *secret_make(const char *path, uint8_t secret[SECRET_SIZE])
{
	char text[2 * SECRET_SIZE + 2];

	if (getrandom(secret, SECRET_SIZE, 0) != SECRET_SIZE)
		return problem("no random bytes: %s", strerror(errno));
	for (size_t i = 0; i < SECRET_SIZE; ++i)
		sprintf(text + 2 * i, "%02x", secret[i]);
	strcpy(text + 2 * (size_t)SECRET_SIZE, "\n");
	return files_write_private(path, text);
}

char *files_secret(const char *data_dir, const char *name, uint8_t ret[SECRET_SIZE])
{
	_cleanup_(freep) char *path = NULL;
	_cleanup_(closep) int fd = -1;
	char text[2 * SECRET_SIZE + 1];
	struct stat stat;

	if (asprintf(&path, "%s/%s", data_dir, name) < 0)
		abort();
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? secret_make(path, ret)
				       : problem("%s: %s", path, strerror(errno));
	if (fstat(fd, &stat) < 0 || stat.st_mode & 077)
		return problem("%s can be read by others; make it private: chmod 600 %s", path,
			       path);
	if (read(fd, text, sizeof text) != sizeof text)
		return problem("%s: not %d hexadecimal digits; restore it from a copy, or the "
			       "stored credentials are lost",
			       path, 2 * SECRET_SIZE);
	for (size_t i = 0; i < SECRET_SIZE; ++i) {
		char pair[3] = {text[2 * i], text[2 * i + 1]}, *end;

		ret[i] = (uint8_t)strtoul(pair, &end, 16);
		if (*end)
			return problem("%s: not %d hexadecimal digits; restore it from a copy, or "
				       "the stored credentials are lost",
				       path, 2 * SECRET_SIZE);
	}
	return NULL;
}
