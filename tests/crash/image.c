// A disk writes sectors of 512 bytes, each whole or not at all, in any order. So of every write
// that is not durable each sector is there or not, whatever became of others; later ones lie over
// earlier ones.

#include "tests/crash/image.h"

#include "core/base/util.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define SECTOR 512u

const char *const image_mode_names[IMAGE_MODES] = {"dropped", "kept", "some kept", "torn"};

static void lay(uint8_t **data, size_t *size, size_t *room, uint64_t at, const uint8_t *from,
		size_t count)
{
	if (at + count > *room) {
		*room = MAX(2 * *room, at + count);
		*data = realloc(*data, *room);
		assert(*data);
	}
	if (at > *size)
		memset(*data + *size, 0, at - *size);
	memcpy(*data + at, from, count);
	*size = MAX(*size, at + count);
}

static void pending_add(struct image *image, enum recorder_file file, size_t index)
{
	if (image->files[file].pending_count == image->files[file].pending_room) {
		size_t room = MAX(2 * image->files[file].pending_room, (size_t)64);

		image->files[file].pending =
			realloc(image->files[file].pending, room * sizeof(size_t));
		assert(image->files[file].pending);
		image->files[file].pending_room = room;
	}
	image->files[file].pending[image->files[file].pending_count++] = index;
}

static void become_durable(struct image *image, const struct event *events,
			   const struct event *durable)
{
	size_t left = 0, *pending = image->files[durable->file].pending;

	for (size_t i = 0; i < image->files[durable->file].pending_count; ++i) {
		const struct event *write = &events[pending[i]];

		if (pending[i] < durable->from || pending[i] >= durable->until)
			pending[left++] = pending[i];
		else
			lay(&image->files[durable->file].durable, &image->files[durable->file].size,
			    &image->files[durable->file].room, write->at, write->data, write->size);
	}
	image->files[durable->file].pending_count = left;
}

void image_advance(struct image *image, const struct event *events, size_t cut)
{
	for (; image->cut < cut; ++image->cut) {
		const struct event *event = &events[image->cut];

		if (event->kind == EVENT_WRITE)
			pending_add(image, event->file, image->cut);
		else
			become_durable(image, events, event);
	}
}

static uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

// In sectors as the disk has them: they begin at multiples of their size in the file.
static void torn_lay(uint8_t **data, size_t *size, size_t *room, const struct event *write,
		     uint64_t *seed)
{
	for (size_t at = 0, part; at < write->size; at += part) {
		part = MIN(write->size - at, SECTOR - (write->at + at) % SECTOR);
		if (random_next(seed) % 2)
			lay(data, size, room, write->at + at, write->data + at, part);
	}
}

static void file_write(const char *path, const uint8_t *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert(fd >= 0);
	for (size_t at = 0; at < size;) {
		ssize_t n = write(fd, data + at, size - at);

		assert(n > 0);
		at += (size_t)n;
	}
	close(fd);
}

static void one_write(const struct image *image, const struct event *events,
		      enum recorder_file file, const char *path, enum image_mode mode,
		      uint64_t *seed)
{
	size_t size = image->files[file].size, room = size + 1;
	uint8_t *data = malloc(room);

	assert(data);
	if (size)
		memcpy(data, image->files[file].durable, size);
	for (size_t i = 0; i < image->files[file].pending_count && mode != IMAGE_DROPPED; ++i) {
		const struct event *write = &events[image->files[file].pending[i]];

		if (mode == IMAGE_KEPT || random_next(seed) % 2) {
			if (mode == IMAGE_TORN)
				torn_lay(&data, &size, &room, write, seed);
			else
				lay(&data, &size, &room, write->at, write->data, write->size);
		}
	}
	file_write(path, data, size);
	free(data);
}

void image_write(const struct image *image, const struct event *events, const char *dir,
		 enum image_mode mode, uint64_t seed)
{
	static const char *const names[RECORDER_FILES] = {"d1", "d2"};
	static const char boot[] = "another-boot ea201241\n";
	char path[160];

	seed = seed * 0x9e3779b97f4a7c15ull + 1;
	for (enum recorder_file file = 0; file < RECORDER_FILES; ++file) {
		snprintf(path, sizeof path, "%s/%s", dir, names[file]);
		mkdir(path, 0700);
		snprintf(path, sizeof path, "%s/%s/data.mdb", dir, names[file]);
		one_write(image, events, file, path, mode, &seed);
	}
	snprintf(path, sizeof path, "%s/d1/boot", dir);
	file_write(path, (const uint8_t *)boot, sizeof boot - 1);
}

void image_deinit(struct image *image)
{
	for (enum recorder_file file = 0; file < RECORDER_FILES; ++file) {
		free(image->files[file].durable);
		free(image->files[file].pending);
	}
}
