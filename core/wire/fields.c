// Tagged fields, of which the payloads of control frames consist: tag, size, value.
//
// Fields are rare (a handful for each connection). So reading checks all of them at once, and
// look-ups afterwards check nothing.
//
// Invariants: a known field has the type and size of its row in FIELD_TABLE and stands once unless
// the row repeats; an unknown field is skipped, unless its tag demands that it is understood.
// Values point into the payload. A writer whose room is full says so with `full` and writes no part
// of a field.

#include "core/wire/fields.h"

#include "core/base/utf8.h"

#define FIELD_ROW(name, tag, type, max, repeats) [tag] = {type, repeats, max},
static const struct {
	uint8_t type;
	bool repeats;
	uint16_t max;
} known[FIELD_TAG_END] = {FIELD_TABLE(FIELD_ROW)};
#undef FIELD_ROW

void field_writer_init(struct field_writer *writer, void *room, size_t size)
{
	*writer = (struct field_writer){.data = room, .room = size};
}

void field_put_bytes(struct field_writer *writer, enum field_tag tag, const void *bytes,
		     size_t size)
{
	uint8_t *at = writer->data + writer->size;

	assert(size <= known[tag].max);
	if (writer->room - writer->size < 4 + size) {
		writer->full = true;
		return;
	}
	le16_put(at, (uint16_t)tag);
	le16_put(at + 2, (uint16_t)size);
	if (size)
		memcpy(at + 4, bytes, size);
	writer->size += 4 + size;
}

// A text longer than its tag allows is cut between two characters: sentences for operators
// and users may be of any length where they are made.
void field_put_text(struct field_writer *writer, enum field_tag tag, const char *text)
{
	size_t size = text ? strlen(text) : 0;

	if (!text)
		return;
	if (size > known[tag].max) {
		size = known[tag].max;
		while (size > 0 && ((uint8_t)text[size] & 0xc0) == 0x80)
			--size;
	}
	field_put_bytes(writer, tag, text, size);
}

void field_put_int(struct field_writer *writer, enum field_tag tag, uint64_t value)
{
	uint8_t bytes[8];

	assert(known[tag].max <= sizeof bytes);
	le64_put(bytes, value);
	field_put_bytes(writer, tag, bytes, known[tag].max);
}

static const char *value_check(unsigned tag, struct slice value, const struct fields *fields)
{
	switch (known[tag].type) {
	case FIELD_IS_TEXT:
		if (!utf8_valid(value.data, value.size))
			return "a text field is not UTF-8";
		break;
	case FIELD_IS_BYTES: break;
	default:
		if (value.size != known[tag].max)
			return "an integer field has another width";
	}
	if (value.size > known[tag].max)
		return "a field is longer than allowed";
	if (fields->values[tag].data && !known[tag].repeats)
		return "a field stands twice";
	return NULL;
}

// On failure ret->refused_tag names the field, for the peer's error message; 0 where not even a tag
// could be read.
const char *fields_read(const void *payload, size_t size, struct fields *ret)
{
	struct fields fields = {.payload = payload, .size = size};

	for (size_t at = 0; at < size;) {
		unsigned tag;
		struct slice value;

		ret->refused_tag = 0;
		if (size - at < 4)
			return "a field is cut off";
		tag = le16_get(fields.payload + at);
		ret->refused_tag = (uint16_t)tag;
		value = (struct slice){fields.payload + at + 4, le16_get(fields.payload + at + 2)};
		if (value.size > size - at - 4)
			return "a field is cut off";
		at += 4 + value.size;
		if (tag < FIELD_TAG_END && known[tag].max) {
			const char *problem = value_check(tag, value, &fields);

			if (problem)
				return problem;
			if (!fields.values[tag].data)
				fields.values[tag] = value;
		} else if (tag & FIELD_CRITICAL) {
			return "an unknown field that must be understood";
		}
	}
	*ret = fields;
	return NULL;
}

bool fields_has(const struct fields *fields, enum field_tag tag)
{
	return fields->values[tag].data != NULL;
}

uint64_t fields_int(const struct fields *fields, enum field_tag tag, uint64_t otherwise)
{
	uint8_t bytes[8] = {0};

	if (!fields_has(fields, tag))
		return otherwise;
	memcpy(bytes, fields->values[tag].data, fields->values[tag].size);
	return le64_get(bytes);
}

const char *fields_text(const struct fields *fields, enum field_tag tag, char *room, size_t size)
{
	size_t length = MIN(fields->values[tag].size, size - 1);

	if (length)
		memcpy(room, fields->values[tag].data, length);
	room[length] = '\0';
	return room;
}

bool fields_next(const struct fields *fields, enum field_tag tag, size_t *cursor, struct slice *ret)
{
	while (*cursor < fields->size) {
		const uint8_t *at = fields->payload + *cursor;
		size_t size = le16_get(at + 2);

		*cursor += 4 + size;
		if (le16_get(at) == tag) {
			*ret = (struct slice){at + 4, size};
			return true;
		}
	}
	return false;
}
