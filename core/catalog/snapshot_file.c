// The file in which a proxy keeps the catalog for its next start.
//
// Every write is on disk before the call returns: a proxy that starts after a power cut must not
// serve a configuration older than the one it reported. Changes are rare, so this costs little.

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

int snapshot_file_init(struct snapshot_file *snapshot_file, const char *path)
{
	*snapshot_file = (struct snapshot_file){.fd = -1, .path = strdup(path)};
	return snapshot_file->path ? 0 : -ENOMEM;
}

void snapshot_file_deinit(struct snapshot_file *snapshot_file)
{
	closep(&snapshot_file->fd);
	snapshot_file->fd = -1;
	free(snapshot_file->path);
	snapshot_file->path = NULL;
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
static void keep_aside(const struct snapshot_file *snapshot_file)
{
	_cleanup_(freep) char *aside = NULL;

	if (asprintf(&aside, "%s.damaged", snapshot_file->path) < 0) {
		aside = NULL;
		return;
	}
	unlink(aside);
	if (link(snapshot_file->path, aside) < 0)
		log_error(NULL, "CATALOG-ASIDE", "%s: cannot be kept as %s: %s",
			  snapshot_file->path, aside, strerror(errno));
}

// Puts a file with these bytes in the place of the copy, and goes on with it. Its name is durable
// after directory_sync_name().
static int put_in_place(struct snapshot_file *snapshot_file, const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *temporary = NULL;
	_cleanup_(closep) int fd = -1;
	int r;

	if (asprintf(&temporary, "%s.new", snapshot_file->path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	fd = open(temporary, O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, data, size);
	if (r == 0 && (fsync(fd) < 0 || rename(temporary, snapshot_file->path) < 0))
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return r;
	}
	closep(&snapshot_file->fd);
	snapshot_file->fd = fd;
	fd = -1;
	return 0;
}

// The changes before the damage, as a file of their own.
static int rewrite_file(struct snapshot_file *snapshot_file, const uint8_t *data, size_t size)
{
	int r;

	keep_aside(snapshot_file);
	r = put_in_place(snapshot_file, data, size);
	return r == 0 ? directory_sync_name(snapshot_file->path) : r;
}

static int tail_drop(struct snapshot_file *snapshot_file, const uint8_t *data, size_t at,
		     size_t size)
{
	if (!is_torn(data + at, size - at)) {
		log_error(NULL, "CATALOG-DAMAGED",
			  "%s: a change is damaged; it and the %zu bytes behind it are kept in "
			  "%s.damaged and do not count",
			  snapshot_file->path, size - at, snapshot_file->path);
		return rewrite_file(snapshot_file, data, at);
	}
	log_warn(NULL, "CATALOG-TAIL",
		 "%s: the last %zu bytes are not a whole change and are dropped",
		 snapshot_file->path, size - at);
	return ftruncate(snapshot_file->fd, (off_t)at) < 0 || fsync(snapshot_file->fd) < 0 ? -errno
											   : 0;
}

static int read_mapped(struct snapshot_file *snapshot_file, const uint8_t *data, size_t size,
		       int (*fn)(void *ctx, const uint8_t *data, size_t size), void *ctx)
{
	struct change_head head;
	size_t at = whole_change(data, size, &head), n;

	if (at == 0 || !head.full)
		return SNAPSHOT_FILE_E_DAMAGED;
	if (fn(ctx, data, at) != 0)
		return SNAPSHOT_FILE_E_DAMAGED;
	snapshot_file->full_size = at;
	while ((n = whole_change(data + at, size - at, &head)) != 0) {
		if (fn(ctx, data + at, n) != 0)
			break;
		at += n;
	}
	snapshot_file->delta_size = at - snapshot_file->full_size;
	return at < size ? tail_drop(snapshot_file, data, at, size) : 0;
}

int snapshot_file_read(struct snapshot_file *snapshot_file,
		       int (*fn)(void *ctx, const uint8_t *data, size_t size), void *ctx)
{
	struct stat stat;
	void *data;
	int r;

	snapshot_file->fd = open(snapshot_file->path, O_RDWR | O_APPEND | O_CLOEXEC);
	if (snapshot_file->fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(snapshot_file->fd, &stat) < 0)
		return -errno;
	if (stat.st_size == 0)
		return SNAPSHOT_FILE_E_DAMAGED;
	data = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, snapshot_file->fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	r = read_mapped(snapshot_file, data, (size_t)stat.st_size, fn, ctx);
	munmap(data, (size_t)stat.st_size);
	return r;
}

void snapshot_file_set_aside(struct snapshot_file *snapshot_file)
{
	_cleanup_(freep) char *aside = NULL;

	closep(&snapshot_file->fd);
	snapshot_file->fd = -1;
	snapshot_file->full_size = snapshot_file->delta_size = 0;
	if (asprintf(&aside, "%s.damaged", snapshot_file->path) < 0) {
		aside = NULL;
		return;
	}
	if (rename(snapshot_file->path, aside) < 0)
		log_error(NULL, "CATALOG-ASIDE", "%s: cannot be renamed: %s", snapshot_file->path,
			  strerror(errno));
	else
		log_error(NULL, "CATALOG-DAMAGED", "%s was damaged and is now %s",
			  snapshot_file->path, aside);
}

int snapshot_file_replace(struct snapshot_file *snapshot_file, const struct catalog_change *full)
{
	int r = put_in_place(snapshot_file, full->data, full->size);

	if (r < 0)
		return r;
	snapshot_file->full_size = full->size;
	snapshot_file->delta_size = 0;
	return directory_sync_name(snapshot_file->path);
}

int snapshot_file_append(struct snapshot_file *snapshot_file, const struct catalog_change *delta)
{
	off_t end = (off_t)(snapshot_file->full_size + snapshot_file->delta_size);
	int r;

	if (snapshot_file->fd < 0)
		return -ENOENT;
	r = write_all(snapshot_file->fd, delta->data, delta->size);
	if (r == 0 && fdatasync(snapshot_file->fd) < 0)
		r = -errno;
	if (r < 0) {
		// Half a delta must not stand before the next one.
		if (ftruncate(snapshot_file->fd, end) < 0) {
			closep(&snapshot_file->fd);
			snapshot_file->fd = -1;
		}
		return r;
	}
	snapshot_file->delta_size += delta->size;
	return 0;
}

bool snapshot_file_wants_full(const struct snapshot_file *snapshot_file)
{
	return snapshot_file->fd < 0 ||
	       snapshot_file->delta_size > MAX(snapshot_file->full_size, (uint64_t)DELTA_SLACK);
}
