// The program's calls pass through here to the kernel. That includes those of the libraries it uses
// (liblmdb, SQLite), but not what the C library does inside, such as stdio.
//
// A failed fsync leaves open what of the data is on the disk, and the kernel forgets it: a second
// one that succeeds says nothing about it. A failed write of a synchronous descriptor is there to
// be read and may be on the disk. Both are meant to be met here as they are on a dying disk.
//
// Nothing here maps files to write to them, so there is no msync.

#include "tests/faults/failing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct failing own, *control = &own;

struct failing *failing_control(void)
{
	return control;
}

// A test whose faults never come would prove nothing: so this ends the process.
__attribute__((constructor)) static void control_map(void)
{
	const char *path = getenv("FAULTS_CONTROL");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map = fd < 0 ? MAP_FAILED
			   : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (path && map == MAP_FAILED) {
		fprintf(stderr, "FAULTS_CONTROL: %s: %s\n", path, strerror(errno));
		abort();
	}
	if (map != MAP_FAILED)
		control = map;
	if (fd >= 0)
		close(fd);
}

static bool is_meant(int fd)
{
	char link[64], path[512];
	ssize_t size;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	size = readlink(link, path, sizeof path - 1);
	path[size > 0 ? size : 0] = '\0';
	return strstr(path, control->inside) != NULL;
}

static bool fails(int fd, enum failing_call call)
{
	uint64_t number;

	if (!(__atomic_load_n(&control->calls, __ATOMIC_ACQUIRE) & call) || !is_meant(fd))
		return false;
	number = __atomic_fetch_add(&control->seen, 1, __ATOMIC_RELAXED);
	if (number < control->skip || number - control->skip >= control->count)
		return false;
	__atomic_fetch_add(&control->failed, 1, __ATOMIC_RELAXED);
	return true;
}

static int fail(void)
{
	errno = __atomic_load_n(&control->error, __ATOMIC_RELAXED);
	return -1;
}

static bool is_synchronous(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_DSYNC); // O_SYNC has this bit as well
}

// `at` -1: where the descriptor stands.
static ssize_t do_write(int fd, const struct iovec *parts, int count, off_t at)
{
	bool synchronous = __atomic_load_n(&control->calls, __ATOMIC_RELAXED) && is_synchronous(fd);
	bool failing = fails(fd, synchronous ? FAILING_SYNC_WRITE : FAILING_WRITE);
	ssize_t size;

	if (failing && !synchronous)
		return fail();
	size = at < 0 ? syscall(SYS_writev, fd, parts, count)
		      : syscall(SYS_pwritev, fd, parts, count, at, 0);
	return failing ? fail() : size;
}

// ---- in place of the C library's

// By their names for the linker: some programs call pwrite, others pwrite64.
#define STANDS_FOR(name) __asm__(name) __attribute__((visibility("default")))

ssize_t failing_write(int fd, const void *data, size_t size) STANDS_FOR("write");
ssize_t failing_writev(int fd, const struct iovec *parts, int count) STANDS_FOR("writev");
ssize_t failing_pwrite(int fd, const void *data, size_t size, off_t at) STANDS_FOR("pwrite");
ssize_t failing_pwrite64(int fd, const void *data, size_t size, off_t at) STANDS_FOR("pwrite64");
ssize_t failing_pwritev(int fd, const struct iovec *parts, int count, off_t at)
	STANDS_FOR("pwritev");
ssize_t failing_pwritev64(int fd, const struct iovec *parts, int count, off_t at)
	STANDS_FOR("pwritev64");
int failing_fsync(int fd) STANDS_FOR("fsync");
int failing_fdatasync(int fd) STANDS_FOR("fdatasync");
int failing_ftruncate(int fd, off_t size) STANDS_FOR("ftruncate");
int failing_ftruncate64(int fd, off_t size) STANDS_FOR("ftruncate64");
int failing_fallocate(int fd, int mode, off_t at, off_t size) STANDS_FOR("fallocate");
int failing_fallocate64(int fd, int mode, off_t at, off_t size) STANDS_FOR("fallocate64");

static struct iovec whole(const void *data, size_t size)
{
	return (struct iovec){(void *)(uintptr_t)data, size};
}

ssize_t failing_write(int fd, const void *data, size_t size)
{
	struct iovec part = whole(data, size);

	return do_write(fd, &part, 1, -1);
}

ssize_t failing_writev(int fd, const struct iovec *parts, int count)
{
	return do_write(fd, parts, count, -1);
}

ssize_t failing_pwrite(int fd, const void *data, size_t size, off_t at)
{
	struct iovec part = whole(data, size);

	return do_write(fd, &part, 1, at);
}

ssize_t failing_pwrite64(int fd, const void *data, size_t size, off_t at)
{
	return failing_pwrite(fd, data, size, at);
}

ssize_t failing_pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
	return do_write(fd, parts, count, at);
}

ssize_t failing_pwritev64(int fd, const struct iovec *parts, int count, off_t at)
{
	return do_write(fd, parts, count, at);
}

int failing_fsync(int fd)
{
	return fails(fd, FAILING_SYNC) ? fail() : (int)syscall(SYS_fsync, fd);
}

int failing_fdatasync(int fd)
{
	return fails(fd, FAILING_SYNC) ? fail() : (int)syscall(SYS_fdatasync, fd);
}

int failing_ftruncate(int fd, off_t size)
{
	return fails(fd, FAILING_TRUNCATE) ? fail() : (int)syscall(SYS_ftruncate, fd, size);
}

int failing_ftruncate64(int fd, off_t size)
{
	return failing_ftruncate(fd, size);
}

int failing_fallocate(int fd, int mode, off_t at, off_t size)
{
	return fails(fd, FAILING_TRUNCATE) ? fail()
					   : (int)syscall(SYS_fallocate, fd, mode, at, size);
}

int failing_fallocate64(int fd, int mode, off_t at, off_t size)
{
	return failing_fallocate(fd, mode, at, size);
}
