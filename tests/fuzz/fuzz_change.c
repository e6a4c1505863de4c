// The rows of a snapshot or delta, with the checksums put right: no bytes make the reader step
// outside, and what it accepts comes back the same after writing and reading it again.

#include "core/base/crc32c.h"
#include "core/registry/change.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// A whole change around the rows: a count of rows in the first byte, rows in the rest.
static struct catalog_change *frame(const uint8_t *data, size_t size)
{
	struct change_head head = {.full = true, .source = 1, .to = 1};
	struct change_writer writer;
	struct catalog_change *change;
	uint8_t *at;
	int r = change_begin(&writer, &head, NULL);

	assert(r == 0);
	change = change_end(&writer);
	change = realloc(change, sizeof *change + CHANGE_HEADER_SIZE + size);
	assert(change);
	change->size = CHANGE_HEADER_SIZE + size - 1;
	at = change->data;
	memcpy(at + CHANGE_HEADER_SIZE, data + 1, size - 1);
	memset(at + 32, 0, 12);
	memcpy(at + 32, &(uint64_t){size - 1}, 8);
	at[40] = data[0];
	memcpy(at + 44, &(uint32_t){crc32c(0, data + 1, size - 1)}, 4);
	memcpy(at + 48, &(uint32_t){crc32c(0, at, 48)}, 4);
	return change;
}

// Writes again what was read; NULL when there is a row that is refused.
static struct catalog_change *rewrite(const struct catalog_change *change)
{
	struct change_reader reader;
	struct change_writer writer;
	struct change_row row;
	int r;

	r = change_open(&reader, change->data, change->size, NULL);
	assert(r == 0);
	r = change_begin(&writer, &reader.head, NULL);
	assert(r == 0);
	while ((r = change_next(&reader, &row)) == 1) {
		r = row.object ? change_put(&writer, row.object)
			       : change_gone(&writer, row.kind, row.id);
		assert(r == 0);
		model_unref(row.object);
	}
	change_close(&reader);
	if (r == 0)
		return change_end(&writer);
	change_abandon(&writer);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct catalog_change *change, *once, *twice;

	if (size == 0 || size > 65536)
		return 0;
	change = frame(data, size);
	once = rewrite(change);
	if (once) {
		twice = rewrite(once);
		assert(twice && twice->size == once->size &&
		       memcmp(twice->data, once->data, once->size) == 0);
		free(twice);
	}
	free(once);
	free(change);
	return 0;
}
