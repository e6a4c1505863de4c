// The place of a scrub's pass in a small file, so that a restart does not begin the pass anew.
//
// The file has one fixed size: a format number, then the fields of the struct, little-endian, then
// the CRC-32C of everything before. It is replaced by rename and not synced: a power cut may lose
// it, and the next pass then begins at the start.
//
// Invariant: a file of another size, format or checksum counts as absent. Not here: whether the
// place still fits the store (scrub.c).

#include "adapters/store/scrub_mark.h"

#include "core/base/crc32c.h"
#include "core/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define FORMAT     1u
#define PLACE_SIZE (16u + SCRUB_KEY_MAX)
#define MARK_SIZE  (24u + 2u * PLACE_SIZE + 4u)

static void encode_mark(const struct scrub_mark *mark, uint8_t bytes[MARK_SIZE])
{
	memset(bytes, 0, MARK_SIZE);
	le32_put(bytes, FORMAT);
	le32_put(bytes + 4, mark->at);
	le64_put(bytes + 8, mark->done);
	le64_put(bytes + 16, (uint64_t)mark->began_ms);
	for (size_t i = 0; i < ARRAY_SIZE(mark->places); ++i) {
		const struct scrub_mark_place *place = &mark->places[i];
		uint8_t *at = bytes + 24 + i * PLACE_SIZE;

		assert(place->key_size <= SCRUB_KEY_MAX);
		le64_put(at, place->transaction);
		le32_put(at + 8, place->table);
		le32_put(at + 12, place->key_size);
		memcpy(at + 16, place->key, place->key_size);
	}
	le32_put(bytes + MARK_SIZE - 4, crc32c(0, bytes, MARK_SIZE - 4));
}

static bool decode_mark(const uint8_t bytes[MARK_SIZE], struct scrub_mark *ret)
{
	if (le32_get(bytes) != FORMAT ||
	    le32_get(bytes + MARK_SIZE - 4) != crc32c(0, bytes, MARK_SIZE - 4))
		return false;
	ret->at = le32_get(bytes + 4);
	ret->done = le64_get(bytes + 8);
	ret->began_ms = (int64_t)le64_get(bytes + 16);
	for (size_t i = 0; i < ARRAY_SIZE(ret->places); ++i) {
		struct scrub_mark_place *place = &ret->places[i];
		const uint8_t *at = bytes + 24 + i * PLACE_SIZE;

		place->transaction = le64_get(at);
		place->table = le32_get(at + 8);
		place->key_size = le32_get(at + 12);
		if (place->key_size > SCRUB_KEY_MAX)
			return false;
		memcpy(place->key, at + 16, SCRUB_KEY_MAX);
	}
	return true;
}

bool scrub_mark_read(const char *path, struct scrub_mark *ret)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t bytes[MARK_SIZE + 1];

	return fd >= 0 && read(fd, bytes, sizeof bytes) == MARK_SIZE && decode_mark(bytes, ret);
}

int scrub_mark_write(const char *path, const struct scrub_mark *mark)
{
	_cleanup_(freep) char *beside = NULL;
	_cleanup_(closep) int fd = -1;
	uint8_t bytes[MARK_SIZE];
	ssize_t written;

	if (asprintf(&beside, "%s.new", path) < 0)
		return -ENOMEM;
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	encode_mark(mark, bytes);
	written = write(fd, bytes, sizeof bytes);
	if (written != (ssize_t)sizeof bytes)
		return written < 0 ? -errno : -ENOSPC;
	return rename(beside, path) < 0 ? -errno : 0;
}
