// The daemon's own files: the data directory and its lock, secrets, files that are replaced.
//
// A file is written beside its place, synced and renamed, so that a crash leaves the old or the new
// one. What other users could have put there, or could read, is refused rather than used: a data
// directory that they can write, a lock that is a link, a secret that is theirs or that they can
// read.
//
// Texts of refusals are the caller's to free. Not here: the formats of other files.

#include "server/files.h"

#include "core/base/directory.h"
#include "core/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#define SECRET_DIGITS (2 * FILES_SECRET_SIZE)

static int directories_make(const char *path)
{
	_cleanup_(freep) char *copy = text_format("%s", path);
	int r;

	for (char *slash = strchr(copy + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = '\0';
		if (mkdir(copy, 0700) < 0)
			r = errno == EEXIST ? 0 : -errno; // what is above may be another's
		else
			r = directory_sync_name(copy);
		if (r < 0 || !slash)
			return r;
		*slash = '/';
	}
}

// Another user that can write a directory can replace every file in it.
static char *directory_check(const char *data_dir)
{
	struct stat found;

	if (stat(data_dir, &found) < 0)
		return text_format("data directory %s: %s", data_dir, strerror(errno));
	if (!S_ISDIR(found.st_mode))
		return text_format("data directory %s: %s", data_dir, strerror(ENOTDIR));
	if (found.st_uid != geteuid())
		return text_format(
			"data directory %s belongs to user %u, and this is user %u; chown "
			"it, or start as its owner",
			data_dir, (unsigned)found.st_uid, (unsigned)geteuid());
	if (found.st_mode & 022)
		return text_format(
			"data directory %s can be written by others; make it private: chmod "
			"700 %s",
			data_dir, data_dir);
	return NULL;
}

static char *lock_refused(const char *data_dir, int fd)
{
	char holder[32] = "";
	ssize_t size = read(fd, holder, sizeof holder - 1);

	holder[size > 0 ? size : 0] = '\0';
	holder[strcspn(holder, "\n")] = '\0';
	return text_format("data directory %s is in use by process %s; stop it, or choose another "
			   "with --data-dir",
			   data_dir, *holder ? holder : "?");
}

// flock() rather than the file's existence: the kernel releases it when the process ends in any
// way. The pid inside is for the message of a second process only. `*ret_fd` holds the lock until
// it is closed.
char *files_lock(const char *data_dir, int *ret_fd)
{
	_cleanup_(freep) char *path = text_format("%s/lock", data_dir);
	_cleanup_(closep) int fd = -1;
	int r = directories_make(data_dir);
	struct stat found;
	char *wrong;

	if (r < 0)
		return text_format("data directory %s: %s", data_dir, strerror(-r));
	wrong = directory_check(data_dir);
	if (wrong)
		return wrong;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0 && errno == ELOOP)
		return text_format("%s is a link, which the daemon never makes; remove it", path);
	if (fd < 0)
		return text_format("data directory %s: lock: %s", data_dir, strerror(errno));
	if (fstat(fd, &found) < 0 || !S_ISREG(found.st_mode) || found.st_nlink != 1)
		return text_format(
			"%s is no file of its own, which the daemon never makes; remove it", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return lock_refused(data_dir, fd);
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
		return text_format("%s: %s", path, strerror(errno));
	*ret_fd = fd;
	fd = -1;
	return NULL;
}

bool files_exist(const char *data_dir, const char *name)
{
	_cleanup_(freep) char *path = text_format("%s/%s", data_dir, name);

	return access(path, F_OK) == 0;
}

bool files_hold(const char *data_dir, const char *name)
{
	_cleanup_(freep) char *path = text_format("%s/%s", data_dir, name);
	struct stat found;

	return stat(path, &found) < 0 ? errno != ENOENT : found.st_size > 0;
}

// ---- writing

// The mode is set by fchmod(), because the umask may take bits away.
static int write_synced(const char *path, const char *text, mode_t mode)
{
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t size = (ssize_t)strlen(text), n;

	if (fd < 0 || fchmod(fd, mode) < 0)
		return -errno;
	n = write(fd, text, (size_t)size);
	if (n != size)
		return n < 0 ? -errno : -ENOSPC;
	return fsync(fd) < 0 ? -errno : 0;
}

char *files_write(const char *path, const char *text, mode_t mode)
{
	_cleanup_(freep) char *beside = text_format("%s.new", path);
	int r = write_synced(beside, text, mode);

	if (r == 0 && rename(beside, path) < 0)
		r = -errno;
	if (r == 0)
		r = directory_sync_name(path);
	return r < 0 ? text_format("%s: %s", path, strerror(-r)) : NULL;
}

// ---- secrets

static char *secret_make(const char *path, uint8_t secret[FILES_SECRET_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	char text[SECRET_DIGITS + 2], *to = text;

	if (getrandom(secret, FILES_SECRET_SIZE, 0) != FILES_SECRET_SIZE)
		return text_format("no random bytes: %s", strerror(errno));
	for (size_t i = 0; i < FILES_SECRET_SIZE; ++i) {
		*to++ = digits[secret[i] >> 4];
		*to++ = digits[secret[i] & 15];
	}
	*to++ = '\n';
	*to = '\0';
	return files_write(path, text, 0600);
}

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool secret_read(int fd, uint8_t secret[FILES_SECRET_SIZE])
{
	char text[SECRET_DIGITS];

	if (read(fd, text, sizeof text) != sizeof text)
		return false;
	for (size_t i = 0; i < FILES_SECRET_SIZE; ++i) {
		int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		secret[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

char *files_secret(const char *data_dir, const char *name, const char *needed,
		   uint8_t ret[FILES_SECRET_SIZE])
{
	_cleanup_(freep) char *path = text_format("%s/%s", data_dir, name);
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat stat;

	if (fd < 0 && errno != ENOENT)
		return text_format("%s: %s", path, strerror(errno));
	if (fd < 0)
		return needed ? text_format("%s is missing; without it %s: restore it from a copy",
					    path, needed)
			      : secret_make(path, ret);
	if (fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode))
		return text_format("%s is not a file", path);
	if (stat.st_uid != geteuid())
		return text_format("%s belongs to user %u, and this is user %u, who makes its own; "
				   "restore it from a copy, or chown it",
				   path, (unsigned)stat.st_uid, (unsigned)geteuid());
	if (stat.st_mode & 077)
		return text_format("%s can be read by others; make it private: chmod 600 %s", path,
				   path);
	if (!secret_read(fd, ret))
		return text_format("%s does not hold %d hexadecimal digits; restore it from a copy",
				   path, SECRET_DIGITS);
	return NULL;
}

char *files_key_check(const char *path)
{
	struct stat found;

	if (stat(path, &found) < 0)
		return NULL; // the caller that reads the file reports it
	if (found.st_mode & (S_IWGRP | S_IRWXO))
		return text_format(
			"private key %s can be read or changed by others; make it private: "
			"chmod 600 %s (or 640, with a group of its own)",
			path, path);
	return NULL;
}
