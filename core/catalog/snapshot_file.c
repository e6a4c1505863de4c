// Every write is on disk before the call returns: a proxy that starts after a power cut must not
// serve a configuration older than the one it told about. Changes are rare, so this costs little.

#include "core/catalog/snapshot_file.h"

#include "core/base/directory.h"
#include "core/base/log.h"
#include "core/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define DELTA_SLACK (1u << 20) // deltas may always grow to this before the file is rewritten

int lastgood_init(struct lastgood *lastgood, const char *path)
{
	*lastgood = (struct lastgood){.fd = -1, .path = strdup(path)};
	return lastgood->path ? 0 : -ENOMEM;
}

void lastgood_deinit(struct lastgood *lastgood)
{
	closep(&lastgood->fd);
	lastgood->fd = -1;
	free(lastgood->path);
	lastgood->path = NULL;
}

// The size of the whole, correct change at `data`; 0: there is none.
static size_t whole_change(const uint8_t *data, size_t left, struct change_head *ret_head)
{
	struct change_reader reader;
	size_t size;

	if (change_head_read(data, left, ret_head) < 0 ||
	    ret_head->size > left - CHANGE_HEADER_SIZE)
		return 0;
	size = CHANGE_HEADER_SIZE + ret_head->size;
	if (change_open(&reader, data, size, NULL) < 0)
		return 0;
	change_close(&reader);
	return size;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

// A crash cuts the last change short; anything else that is not whole was damaged, and whole
// changes may stand behind it.
static bool is_torn(const uint8_t *data, size_t left)
{
	struct change_head head;

	return left < CHANGE_HEADER_SIZE ||
	       (change_head_read(data, left, &head) == 0 && head.size > left - CHANGE_HEADER_SIZE);
}

// A second name, which stays when the file is replaced; it is written anew before it is cut.
static void keep_aside(const struct lastgood *lastgood)
{
	_cleanup_(freep) char *aside = NULL;

	if (asprintf(&aside, "%s.damaged", lastgood->path) < 0) {
		aside = NULL;
		return;
	}
	unlink(aside);
	if (link(lastgood->path, aside) < 0)
		log_error(NULL, "CATALOG-ASIDE", "%s: cannot be kept as %s: %s", lastgood->path,
			  aside, strerror(errno));
}

// Puts a file with these bytes in the place of the copy, and goes on with it. Its name is durable
// after directory_sync_name().
static int put_in_place(struct lastgood *lastgood, const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *temporary = NULL;
	_cleanup_(closep) int fd = -1;
	int r;

	if (asprintf(&temporary, "%s.new", lastgood->path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	fd = open(temporary, O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, data, size);
	if (r == 0 && (fsync(fd) < 0 || rename(temporary, lastgood->path) < 0))
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return r;
	}
	closep(&lastgood->fd);
	lastgood->fd = fd;
	fd = -1;
	return 0;
}

// The changes before the damage, as a file of their own.
static int rewrite(struct lastgood *lastgood, const uint8_t *data, size_t size)
{
	int r;

	keep_aside(lastgood);
	r = put_in_place(lastgood, data, size);
	return r == 0 ? directory_sync_name(lastgood->path) : r;
}

static int tail_drop(struct lastgood *lastgood, const uint8_t *data, size_t at, size_t size)
{
	if (!is_torn(data + at, size - at)) {
		log_error(NULL, "CATALOG-DAMAGED",
			  "%s: a change is damaged; it and the %zu bytes behind it are kept in "
			  "%s.damaged and do not count",
			  lastgood->path, size - at, lastgood->path);
		return rewrite(lastgood, data, at);
	}
	log_warn(NULL, "CATALOG-TAIL",
		 "%s: the last %zu bytes are not a whole change and are dropped", lastgood->path,
		 size - at);
	return ftruncate(lastgood->fd, (off_t)at) < 0 || fsync(lastgood->fd) < 0 ? -errno : 0;
}

static int read_mapped(struct lastgood *lastgood, const uint8_t *data, size_t size,
		       int (*fn)(void *ctx, const uint8_t *data, size_t size), void *ctx)
{
	struct change_head head;
	size_t at = whole_change(data, size, &head), n;

	if (at == 0 || !head.full)
		return LASTGOOD_E_DAMAGED;
	if (fn(ctx, data, at) != 0)
		return LASTGOOD_E_DAMAGED;
	lastgood->full_size = at;
	while ((n = whole_change(data + at, size - at, &head)) != 0) {
		if (fn(ctx, data + at, n) != 0)
			break;
		at += n;
	}
	lastgood->delta_size = at - lastgood->full_size;
	return at < size ? tail_drop(lastgood, data, at, size) : 0;
}

int lastgood_read(struct lastgood *lastgood, int (*fn)(void *ctx, const uint8_t *data, size_t size),
		  void *ctx)
{
	struct stat stat;
	void *data;
	int r;

	lastgood->fd = open(lastgood->path, O_RDWR | O_APPEND | O_CLOEXEC);
	if (lastgood->fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(lastgood->fd, &stat) < 0)
		return -errno;
	if (stat.st_size == 0)
		return LASTGOOD_E_DAMAGED;
	data = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, lastgood->fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	r = read_mapped(lastgood, data, (size_t)stat.st_size, fn, ctx);
	munmap(data, (size_t)stat.st_size);
	return r;
}

void lastgood_set_aside(struct lastgood *lastgood)
{
	_cleanup_(freep) char *aside = NULL;

	closep(&lastgood->fd);
	lastgood->fd = -1;
	lastgood->full_size = lastgood->delta_size = 0;
	if (asprintf(&aside, "%s.damaged", lastgood->path) < 0) {
		aside = NULL;
		return;
	}
	if (rename(lastgood->path, aside) < 0)
		log_error(NULL, "CATALOG-ASIDE", "%s: cannot be renamed: %s", lastgood->path,
			  strerror(errno));
	else
		log_error(NULL, "CATALOG-DAMAGED", "%s was damaged and is now %s", lastgood->path,
			  aside);
}

int lastgood_replace(struct lastgood *lastgood, const struct catalog_change *full)
{
	int r = put_in_place(lastgood, full->data, full->size);

	if (r < 0)
		return r;
	lastgood->full_size = full->size;
	lastgood->delta_size = 0;
	return directory_sync_name(lastgood->path);
}

int lastgood_append(struct lastgood *lastgood, const struct catalog_change *delta)
{
	off_t end = (off_t)(lastgood->full_size + lastgood->delta_size);
	int r;

	if (lastgood->fd < 0)
		return -ENOENT;
	r = write_all(lastgood->fd, delta->data, delta->size);
	if (r == 0 && fdatasync(lastgood->fd) < 0)
		r = -errno;
	if (r < 0) {
		// Half a delta must not stand before the next one.
		if (ftruncate(lastgood->fd, end) < 0) {
			closep(&lastgood->fd);
			lastgood->fd = -1;
		}
		return r;
	}
	lastgood->delta_size += delta->size;
	return 0;
}

bool lastgood_wants_full(const struct lastgood *lastgood)
{
	return lastgood->fd < 0 ||
	       lastgood->delta_size > MAX(lastgood->full_size, (uint64_t)DELTA_SLACK);
}
