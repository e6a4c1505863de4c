// The payload of a control frame from a stranger: what passes the check can be read field by field,
// each inside the payload and no larger than its tag allows.

#include "core/wire/fields.h"
#include "tests/fuzz/fuzz.h"

static void list_walk(const struct fields *fields, enum field_tag tag)
{
	size_t cursor = 0, count = 0;
	struct slice value;

	while (fields_next(fields, tag, &cursor, &value)) {
		assert(value.data >= fields->payload);
		assert(value.data + value.size <= fields->payload + fields->size);
		++count;
	}
	assert(!count == !fields_has(fields, tag));
	assert(count <= 1 || tag == FIELD_ADDRESS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[16], whole[2048];
	struct fields fields;

	if (fields_read(data, size, &fields))
		return 0;
	for (unsigned tag = 1; tag < FIELD_TAG_END; ++tag) {
		list_walk(&fields, tag);
		assert(strlen(fields_text(&fields, tag, text, sizeof text)) < sizeof text);
		if (fields.values[tag].size <= 8)
			(void)fields_int(&fields, tag, 0);
		assert(fields.values[tag].size <= sizeof whole);
	}
	return 0;
}
