// The program's calls pass through here to the kernel, as in failing.c.
//
// A write is recorded when it begins: at a power cut right behind that moment nothing, all or a
// part of it may be there. What a sync makes durable is what had been recorded when it began, and
// it is recorded when it has ended. Names are recorded when they have changed.

#include "tests/faults/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PATH_ROOM  512
#define PARTS_MOST 1000 // two less than the kernel's bound; liblmdb has 64

static struct {
	pthread_mutex_t lock;
	char dir[PATH_ROOM];
	size_t dir_size;
	int log;
	bool unsynced;
	uint64_t count; // atomic
} recorder = {.lock = PTHREAD_MUTEX_INITIALIZER, .log = -1};

__attribute__((constructor)) static void recorder_begin(void)
{
	const char *dir = getenv("RECORD_DIR"), *log = getenv("RECORD_LOG");
	int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;

	if (!dir || !log || strlen(dir) >= PATH_ROOM)
		return;
	strcpy(recorder.dir, dir);
	recorder.dir_size = strlen(dir);
	recorder.unsynced = getenv("RECORD_UNSYNCED") != NULL;
	recorder.log = (int)syscall(SYS_openat, AT_FDCWD, log, flags, 0600);
	if (recorder.log < 0)
		abort();
}

static bool is_inside(const char *path)
{
	return recorder.log >= 0 && strncmp(path, recorder.dir, recorder.dir_size) == 0 &&
	       (path[recorder.dir_size] == '/' || !path[recorder.dir_size]);
}

// Whether the descriptor's file is meant, and its path.
static bool is_meant(int fd, char path[PATH_ROOM])
{
	char link[64];
	ssize_t size;

	if (recorder.log < 0)
		return false;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	size = readlink(link, path, PATH_ROOM - 1);
	path[size > 0 ? size : 0] = '\0';
	return is_inside(path);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Returns its number. What cannot be recorded ends the process: half a record proves nothing.
static uint64_t add(struct record_head head, const char *path, const struct iovec *parts, int count)
{
	struct iovec all[PARTS_MOST + 2];
	size_t size = sizeof head;
	uint64_t number;
	ssize_t written;

	if (count > PARTS_MOST)
		abort();
	head.path_size = (uint32_t)strlen(path);
	all[0] = (struct iovec){&head, sizeof head};
	all[1] = (struct iovec){(void *)(uintptr_t)path, head.path_size};
	for (int i = 0; i < count; ++i) {
		all[2 + i] = parts[i];
		head.data_size += parts[i].iov_len;
	}
	size += head.path_size + head.data_size;
	pthread_mutex_lock(&recorder.lock);
	number = __atomic_fetch_add(&recorder.count, 1, __ATOMIC_SEQ_CST);
	head.time_ns = now_ns();
	written = syscall(SYS_writev, recorder.log, all, count + 2);
	pthread_mutex_unlock(&recorder.lock);
	if (written != (ssize_t)size)
		abort();
	return number;
}

static uint64_t inode_of(int fd)
{
	struct stat stat;

	return fstat(fd, &stat) < 0 ? 0 : stat.st_ino;
}

static uint64_t recorded_so_far(void)
{
	return __atomic_load_n(&recorder.count, __ATOMIC_SEQ_CST);
}

static void add_durable(int fd, const char *path, uint64_t from, uint64_t until)
{
	add((struct record_head){.kind = RECORDED_DURABLE,
				 .inode = inode_of(fd),
				 .from = from,
				 .until = until},
	    path, NULL, 0);
}

// ---- writing

// Where a write without a position goes.
static off_t position_of(int fd, int flags)
{
	struct stat stat;

	if (!(flags & O_APPEND))
		return lseek(fd, 0, SEEK_CUR);
	return fstat(fd, &stat) < 0 ? 0 : stat.st_size;
}

static ssize_t to_kernel(int fd, const struct iovec *parts, int count, off_t at)
{
	return at < 0 ? syscall(SYS_writev, fd, parts, count)
		      : syscall(SYS_pwritev, fd, parts, count, at, 0);
}

// `at` -1: where the descriptor stands.
static ssize_t do_write(int fd, const struct iovec *parts, int count, off_t at)
{
	char path[PATH_ROOM];
	uint64_t number;
	int flags;
	off_t from;
	ssize_t size;

	if (!is_meant(fd, path))
		return to_kernel(fd, parts, count, at);
	flags = fcntl(fd, F_GETFL);
	from = at < 0 ? position_of(fd, flags) : at;
	number = add((struct record_head){.kind = RECORDED_WRITE,
					  .inode = inode_of(fd),
					  .from = (uint64_t)from},
		     path, parts, count);
	size = to_kernel(fd, parts, count, at);
	if (size > 0 && flags & O_DSYNC) // O_SYNC has this bit as well
		add_durable(fd, path, number, number + 1);
	return size;
}

static int do_truncate(int fd, off_t size, int r)
{
	char path[PATH_ROOM];

	if (r == 0 && is_meant(fd, path))
		add((struct record_head){.kind = RECORDED_TRUNCATE,
					 .inode = inode_of(fd),
					 .from = (uint64_t)size},
		    path, NULL, 0);
	return r;
}

static int do_sync(int fd, long call)
{
	char path[PATH_ROOM];
	uint64_t until = recorded_so_far();
	bool meant = is_meant(fd, path);
	int r = meant && recorder.unsynced ? 0 : (int)syscall(call, fd);

	if (r == 0 && meant && !recorder.unsynced)
		add_durable(fd, path, 0, until);
	return r;
}

// ---- names

static void add_name(enum recorded kind, const char *path, uint64_t inode, const char *to)
{
	struct iovec data = {(void *)(uintptr_t)to, to ? strlen(to) : 0};

	add((struct record_head){.kind = kind, .inode = inode}, path, &data, 1);
}

static int do_open(const char *path, int flags, unsigned mode)
{
	bool was_there = is_inside(path) && access(path, F_OK) == 0;
	char name[PATH_ROOM];
	int fd;

	if (recorder.unsynced && is_inside(path))
		flags &= ~O_SYNC; // and O_DSYNC, which is a part of it
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	if (fd < 0 || !(flags & (O_CREAT | O_TRUNC)) || !is_meant(fd, name))
		return fd;
	if (!was_there)
		add_name(RECORDED_CREATE, name, inode_of(fd), NULL);
	else if (flags & O_TRUNC)
		do_truncate(fd, 0, 0);
	return fd;
}

#define STANDS_FOR(name) __asm__(name) __attribute__((visibility("default")))

int recorder_mkdir(const char *path, mode_t mode) STANDS_FOR("mkdir");
int recorder_rename(const char *from, const char *to) STANDS_FOR("rename");
int recorder_unlink(const char *path) STANDS_FOR("unlink");
int recorder_open(const char *path, int flags, ...) STANDS_FOR("open");
int recorder_open64(const char *path, int flags, ...) STANDS_FOR("open64");

int recorder_mkdir(const char *path, mode_t mode)
{
	int r = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);

	if (r == 0 && is_inside(path))
		add_name(RECORDED_MKDIR, path, 0, NULL);
	return r;
}

int recorder_rename(const char *from, const char *to)
{
	int r = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);

	if (r == 0 && is_inside(from))
		add_name(RECORDED_RENAME, from, 0, to);
	return r;
}

int recorder_unlink(const char *path)
{
	int r = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);

	if (r == 0 && is_inside(path))
		add_name(RECORDED_UNLINK, path, 0, NULL);
	return r;
}

static unsigned mode_of(int flags, va_list args)
{
	return flags & O_CREAT ? va_arg(args, unsigned) : 0;
}

int recorder_open(const char *path, int flags, ...)
{
	va_list args;
	int fd;

	va_start(args, flags);
	fd = do_open(path, flags, mode_of(flags, args));
	va_end(args);
	return fd;
}

int recorder_open64(const char *path, int flags, ...)
{
	va_list args;
	int fd;

	va_start(args, flags);
	fd = do_open(path, flags, mode_of(flags, args));
	va_end(args);
	return fd;
}

// ---- in place of the C library's

ssize_t recorder_write(int fd, const void *data, size_t size) STANDS_FOR("write");
ssize_t recorder_writev(int fd, const struct iovec *parts, int count) STANDS_FOR("writev");
ssize_t recorder_pwrite(int fd, const void *data, size_t size, off_t at) STANDS_FOR("pwrite");
ssize_t recorder_pwrite64(int fd, const void *data, size_t size, off_t at) STANDS_FOR("pwrite64");
ssize_t recorder_pwritev(int fd, const struct iovec *parts, int count, off_t at)
	STANDS_FOR("pwritev");
ssize_t recorder_pwritev64(int fd, const struct iovec *parts, int count, off_t at)
	STANDS_FOR("pwritev64");
int recorder_fsync(int fd) STANDS_FOR("fsync");
int recorder_fdatasync(int fd) STANDS_FOR("fdatasync");
int recorder_ftruncate(int fd, off_t size) STANDS_FOR("ftruncate");
int recorder_ftruncate64(int fd, off_t size) STANDS_FOR("ftruncate64");

ssize_t recorder_write(int fd, const void *data, size_t size)
{
	return do_write(fd, &(struct iovec){(void *)(uintptr_t)data, size}, 1, -1);
}

ssize_t recorder_writev(int fd, const struct iovec *parts, int count)
{
	return do_write(fd, parts, count, -1);
}

ssize_t recorder_pwrite(int fd, const void *data, size_t size, off_t at)
{
	return do_write(fd, &(struct iovec){(void *)(uintptr_t)data, size}, 1, at);
}

ssize_t recorder_pwrite64(int fd, const void *data, size_t size, off_t at)
{
	return recorder_pwrite(fd, data, size, at);
}

ssize_t recorder_pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
	return do_write(fd, parts, count, at);
}

ssize_t recorder_pwritev64(int fd, const struct iovec *parts, int count, off_t at)
{
	return do_write(fd, parts, count, at);
}

int recorder_fsync(int fd)
{
	return do_sync(fd, SYS_fsync);
}

int recorder_fdatasync(int fd)
{
	return do_sync(fd, SYS_fdatasync);
}

int recorder_ftruncate(int fd, off_t size)
{
	return do_truncate(fd, size, (int)syscall(SYS_ftruncate, fd, size));
}

int recorder_ftruncate64(int fd, off_t size)
{
	return recorder_ftruncate(fd, size);
}
