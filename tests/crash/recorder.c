// A write is recorded when it begins: at a power cut just behind that moment nothing, all or a part
// of it may be there. It is durable when a flush that began after its end has ended, or, on a
// descriptor opened with O_DSYNC, when it has ended itself.

#include "tests/crash/recorder.h"

#include "core/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static struct {
	pthread_mutex_t lock;
	char dir[128];
	bool on, failing; // atomic
	struct event *events;
	size_t count, room;
	size_t pending[RECORDER_FILES]; // writes that are not durable
} recorder = {.lock = PTHREAD_MUTEX_INITIALIZER};

void recorder_start(const char *dir)
{
	snprintf(recorder.dir, sizeof recorder.dir, "%s", dir);
	__atomic_store_n(&recorder.on, true, __ATOMIC_SEQ_CST);
}

void recorder_fail_next(void)
{
	__atomic_store_n(&recorder.failing, true, __ATOMIC_SEQ_CST);
}

void recorder_stop(void)
{
	__atomic_store_n(&recorder.on, false, __ATOMIC_SEQ_CST);
}

size_t recorder_now(void)
{
	size_t count;

	pthread_mutex_lock(&recorder.lock);
	count = recorder.count;
	pthread_mutex_unlock(&recorder.lock);
	return count;
}

bool recorder_is_durable(enum recorder_file file)
{
	bool none;

	pthread_mutex_lock(&recorder.lock);
	none = recorder.pending[file] == 0;
	pthread_mutex_unlock(&recorder.lock);
	return none;
}

const struct event *recorder_events(size_t *ret_count)
{
	*ret_count = recorder.count;
	return recorder.events;
}

static size_t add(const struct event *event)
{
	size_t index;

	pthread_mutex_lock(&recorder.lock);
	if (recorder.count == recorder.room) {
		recorder.room = MAX(2 * recorder.room, (size_t)1024);
		recorder.events = realloc(recorder.events, recorder.room * sizeof *event);
		if (!recorder.events)
			abort();
	}
	index = recorder.count++;
	recorder.events[index] = *event;
	recorder.pending[event->file] += event->kind == EVENT_WRITE;
	pthread_mutex_unlock(&recorder.lock);
	return index;
}

// Which of the store's files this is; RECORDER_FILES: none.
static enum recorder_file file_of(int fd)
{
	char link[64], path[256];
	size_t dir_size = strlen(recorder.dir);
	ssize_t size;

	if (!__atomic_load_n(&recorder.on, __ATOMIC_RELAXED))
		return RECORDER_FILES;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	size = readlink(link, path, sizeof path - 1);
	path[MAX(size, 0)] = '\0';
	if (strncmp(path, recorder.dir, dir_size) != 0)
		return RECORDER_FILES;
	return strcmp(path + dir_size, "/d1/data.mdb") == 0   ? RECORDER_D1
	       : strcmp(path + dir_size, "/d2/data.mdb") == 0 ? RECORDER_D2
							      : RECORDER_FILES;
}

static size_t write_begins(enum recorder_file file, const struct iovec *parts, int count, off_t at)
{
	struct event event = {.kind = EVENT_WRITE, .file = file, .at = (uint64_t)at};
	size_t filled = 0;

	for (int i = 0; i < count; ++i)
		event.size += parts[i].iov_len;
	event.data = malloc(event.size + 1);
	if (!event.data)
		abort();
	for (int i = 0; i < count; filled += parts[i++].iov_len)
		memcpy(event.data + filled, parts[i].iov_base, parts[i].iov_len);
	return add(&event);
}

static void durable(enum recorder_file file, size_t from, size_t until)
{
	pthread_mutex_lock(&recorder.lock);
	for (size_t i = from; i < until; ++i) {
		struct event *event = &recorder.events[i];

		if (event->kind != EVENT_WRITE || event->file != file || event->durable)
			continue;
		event->durable = true;
		--recorder.pending[file];
	}
	pthread_mutex_unlock(&recorder.lock);
	add(&(struct event){.kind = EVENT_DURABLE, .file = file, .from = from, .until = until});
}

static ssize_t record_write(int fd, const struct iovec *parts, int count, off_t at)
{
	enum recorder_file file = file_of(fd);
	size_t index;
	ssize_t size;

	if (file == RECORDER_FILES)
		return syscall(SYS_pwritev, fd, parts, count, at, 0);
	index = write_begins(file, parts, count, at);
	size = syscall(SYS_pwritev, fd, parts, count, at, 0);
	if (!(fcntl(fd, F_GETFL) & O_DSYNC))
		return size;
	if (__atomic_exchange_n(&recorder.failing, false, __ATOMIC_SEQ_CST)) {
		errno = EIO;
		return -1;
	}
	durable(file, index, index + 1);
	return size;
}

// ---- in place of the C library's

#define VISIBLE __attribute__((visibility("default")))

// By their names for the linker: liblmdb of one Debian calls pwrite, of another pwrite64.
VISIBLE ssize_t recorded_pwrite(int fd, const void *data, size_t size, off_t at) __asm__("pwrite");
VISIBLE ssize_t recorded_pwrite64(int fd, const void *data, size_t size,
				  off_t at) __asm__("pwrite64");
VISIBLE ssize_t recorded_pwritev(int fd, const struct iovec *parts, int count,
				 off_t at) __asm__("pwritev");
VISIBLE ssize_t recorded_pwritev64(int fd, const struct iovec *parts, int count,
				   off_t at) __asm__("pwritev64");
VISIBLE ssize_t recorded_writev(int fd, const struct iovec *parts, int count) __asm__("writev");

ssize_t recorded_pwrite(int fd, const void *data, size_t size, off_t at)
{
	return record_write(fd, &(struct iovec){(void *)(uintptr_t)data, size}, 1, at);
}

ssize_t recorded_pwrite64(int fd, const void *data, size_t size, off_t at)
{
	return recorded_pwrite(fd, data, size, at);
}

ssize_t recorded_pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
	return record_write(fd, parts, count, at);
}

ssize_t recorded_pwritev64(int fd, const struct iovec *parts, int count, off_t at)
{
	return record_write(fd, parts, count, at);
}

// At the descriptor's own position, which liblmdb has set by lseek.
ssize_t recorded_writev(int fd, const struct iovec *parts, int count)
{
	enum recorder_file file = file_of(fd);

	if (file != RECORDER_FILES)
		write_begins(file, parts, count, lseek(fd, 0, SEEK_CUR));
	return syscall(SYS_writev, fd, parts, count);
}

VISIBLE int fdatasync(int fd)
{
	enum recorder_file file = file_of(fd);
	size_t until = recorder_now();
	int r = (int)syscall(SYS_fdatasync, fd);

	if (file != RECORDER_FILES && r == 0)
		durable(file, 0, until);
	return r;
}
