// The program's own fdatasync, pwrite and writev stand before those of the C library, also for
// liblmdb. They touch only files named data.mdb.

#include "tests/contract/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))

static enum fault fault; // atomic

void fault_set(enum fault now)
{
	__atomic_store_n(&fault, now, __ATOMIC_SEQ_CST);
}

static bool is_store(int fd)
{
	char link[64], path[256];
	ssize_t size;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	size = readlink(link, path, sizeof path - 1);
	path[size > 0 ? size : 0] = '\0';
	return strstr(path, "/data.mdb") != NULL;
}

static bool is_synchronous(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_DSYNC);
}

// 0, or the errno with which this write fails.
static int write_fault(int fd)
{
	enum fault now = __atomic_load_n(&fault, __ATOMIC_SEQ_CST);
	bool meta = now == FAULT_META;

	if (now == FAULT_NONE || now == FAULT_SYNC || !is_store(fd) || is_synchronous(fd) != meta)
		return 0;
	return now == FAULT_SPACE ? ENOSPC : EIO;
}

VISIBLE int fdatasync(int fd)
{
	if (__atomic_load_n(&fault, __ATOMIC_SEQ_CST) == FAULT_SYNC && is_store(fd)) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

// By their names for the linker: liblmdb of one Debian calls pwrite, of another pwrite64.
VISIBLE ssize_t fault_pwrite(int fd, const void *data, size_t size, off_t at) __asm__("pwrite");
VISIBLE ssize_t fault_pwrite64(int fd, const void *data, size_t size, off_t at) __asm__("pwrite64");
VISIBLE ssize_t fault_writev(int fd, const struct iovec *parts, int count) __asm__("writev");

ssize_t fault_pwrite(int fd, const void *data, size_t size, off_t at)
{
	int r = write_fault(fd);

	if (r) {
		errno = r;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, data, size, at);
}

ssize_t fault_pwrite64(int fd, const void *data, size_t size, off_t at)
{
	return fault_pwrite(fd, data, size, at);
}

ssize_t fault_writev(int fd, const struct iovec *parts, int count)
{
	int r = write_fault(fd);

	if (r) {
		errno = r;
		return -1;
	}
	return syscall(SYS_writev, fd, parts, count);
}
