// Any rows as a whole change with the right size, count and checksums, so that the reader comes as
// far as the rows.
#pragma once

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "core/catalog/change.h"

static inline struct catalog_change *change_around(const struct change_head *head, uint32_t count,
						   const uint8_t *rows, size_t size)
{
	struct change_writer writer;
	struct catalog_change *change;
	uint8_t *at;
	int r = change_begin(&writer, head, NULL);

	assert(r == 0);
	change = change_end(&writer);
	change = realloc(change, sizeof *change + CHANGE_HEADER_SIZE + size);
	assert(change);
	change->size = CHANGE_HEADER_SIZE + size;
	at = change->data;
	if (size)
		memcpy(at + CHANGE_HEADER_SIZE, rows, size);
	le64_put(at + 32, size);
	le32_put(at + 40, count);
	le32_put(at + CHANGE_HEADER_SIZE - 8, crc32c(0, at + CHANGE_HEADER_SIZE, size));
	le32_put(at + CHANGE_HEADER_SIZE - 4, crc32c(0, at, CHANGE_HEADER_SIZE - 4));
	return change;
}
