// A record from a stranger: the check reads nothing outside it, and one that passes can be taken
// apart and put together again to the same bytes (an empty list of headers is left out).

#include "core/wire/record.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static unsigned count_headers(const struct record_view *view)
{
	struct record_header header;
	size_t cursor = 0;
	unsigned count = 0;

	while (record_header_next(view, &cursor, &header)) {
		assert(header.name.size > 0);
		++count;
	}
	return count;
}

static void rewrite(const uint8_t *data, uint32_t size)
{
	struct record_view view;
	struct record_parts parts;
	uint32_t rewritten, checked;
	uint8_t *copy;

	record_read(data, &view);
	assert(count_headers(&view) == view.header_count);
	record_parts_of(&view, &parts);
	rewritten = (uint32_t)record_parts_size(&parts);
	copy = malloc(rewritten);
	assert(copy);
	record_write(&parts, copy);
	assert(record_check(copy, rewritten, &checked) == RECORD_OK && checked == rewritten);
	if (view.header_count || !(view.flags & RECORD_HEADERS))
		assert(rewritten == size && memcmp(copy, data, size) == 0);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t record;

	if (record_check(data, size, &record) != RECORD_OK)
		return 0;
	assert(record <= size);
	rewrite(data, record);
	return 0;
}
