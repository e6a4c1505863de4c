// Writes the text of field_text.h.
//
// A string or bytes are themselves; a truth value, number or timestamp is its plain decimal text; a
// table or array is JSON without white space. In JSON, bytes that are not UTF-8 stand as one
// character each (U+0080 to U+00FF), and what is nested deeper than DEPTH_MOST, or is not a number,
// is null.
//
// Invariant: the size that is told does not depend on the room. A writer past its room only counts.

#include "adapters/rabbitmq/message/field_text.h"

#include "core/base/utf8.h"
#include "core/base/util.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define DEPTH_MOST 16

struct writer {
	uint8_t *room;
	size_t size, used; // `used` goes on beyond `size`
};

static void bytes_put(struct writer *to, const void *bytes, size_t size)
{
	if (size && to->room && to->used < to->size)
		memcpy(to->room + to->used, bytes, MIN(size, to->size - to->used));
	to->used += size;
}

static void text_put(struct writer *to, const char *text)
{
	bytes_put(to, text, strlen(text));
}

// ---- scalars

static void signed_put(struct writer *to, int64_t number)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRId64, number);
	text_put(to, text);
}

static void unsigned_put(struct writer *to, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, number);
	text_put(to, text);
}

// The shortest of two texts that is read as the same number. `digits`: always enough.
static void real_put(struct writer *to, double number, int few, int digits, bool single)
{
	char text[40];
	double again;

	snprintf(text, sizeof text, "%.*g", few, number);
	again = strtod(text, NULL);
	if (single ? (float)again != (float)number : again != number)
		snprintf(text, sizeof text, "%.*g", digits, number);
	text_put(to, text);
}

// A u32 with a decimal point `decimals` places from its end.
static void decimal_put(struct writer *to, amqp_decimal_t decimal)
{
	char digits[16], point[2] = ".";
	int size = snprintf(digits, sizeof digits, "%" PRIu32, decimal.value);
	int whole = size - decimal.decimals;

	if (decimal.decimals == 0) {
		text_put(to, digits);
		return;
	}
	if (whole <= 0)
		text_put(to, "0");
	else
		bytes_put(to, digits, (size_t)whole);
	text_put(to, point);
	for (int i = whole; i < 0; ++i)
		text_put(to, "0");
	text_put(to, digits + MAX(whole, 0));
}

// False: it is no scalar.
static bool scalar_put(struct writer *to, const amqp_field_value_t *value)
{
	switch (value->kind) {
	case AMQP_FIELD_KIND_BOOLEAN: text_put(to, value->value.boolean ? "true" : "false"); break;
	case AMQP_FIELD_KIND_I8: signed_put(to, value->value.i8); break;
	case AMQP_FIELD_KIND_U8: unsigned_put(to, value->value.u8); break;
	case AMQP_FIELD_KIND_I16: signed_put(to, value->value.i16); break;
	case AMQP_FIELD_KIND_U16: unsigned_put(to, value->value.u16); break;
	case AMQP_FIELD_KIND_I32: signed_put(to, value->value.i32); break;
	case AMQP_FIELD_KIND_U32: unsigned_put(to, value->value.u32); break;
	case AMQP_FIELD_KIND_I64: signed_put(to, value->value.i64); break;
	case AMQP_FIELD_KIND_U64:
	case AMQP_FIELD_KIND_TIMESTAMP: unsigned_put(to, value->value.u64); break;
	case AMQP_FIELD_KIND_F32: real_put(to, value->value.f32, 6, 9, true); break;
	case AMQP_FIELD_KIND_F64: real_put(to, value->value.f64, 15, 17, false); break;
	case AMQP_FIELD_KIND_DECIMAL: decimal_put(to, value->value.decimal); break;
	default: return false;
	}
	return true;
}

// ---- JSON

static void json_put(struct writer *to, const amqp_field_value_t *value, unsigned depth);

static void json_character_put(struct writer *to, uint32_t character, const uint8_t *bytes,
			       size_t size)
{
	char text[8];

	if (character == '"' || character == '\\') {
		text[0] = '\\';
		text[1] = (char)character;
		bytes_put(to, text, 2);
	} else if (character < 0x20 || size == 0) {
		snprintf(text, sizeof text, "\\u%04x", (unsigned)(character & 0xffff));
		text_put(to, text);
	} else {
		bytes_put(to, bytes, size);
	}
}

static void json_string_put(struct writer *to, amqp_bytes_t bytes)
{
	const uint8_t *at = bytes.bytes;
	size_t left = bytes.len;

	text_put(to, "\"");
	while (left > 0) {
		uint32_t character = *at;
		size_t size = character ? utf8_next(at, left, &character) : 0;

		if (size == 0)
			character = *at;
		json_character_put(to, character, at, size);
		at += MAX(size, 1);
		left -= MAX(size, 1);
	}
	text_put(to, "\"");
}

static void json_array_put(struct writer *to, const amqp_array_t *array, unsigned depth)
{
	text_put(to, "[");
	for (int i = 0; i < array->num_entries; ++i) {
		text_put(to, i ? "," : "");
		json_put(to, &array->entries[i], depth);
	}
	text_put(to, "]");
}

static void json_table_put(struct writer *to, const amqp_table_t *table, unsigned depth)
{
	text_put(to, "{");
	for (int i = 0; i < table->num_entries; ++i) {
		text_put(to, i ? "," : "");
		json_string_put(to, table->entries[i].key);
		text_put(to, ":");
		json_put(to, &table->entries[i].value, depth);
	}
	text_put(to, "}");
}

static bool is_number(const amqp_field_value_t *value)
{
	return (value->kind != AMQP_FIELD_KIND_F32 || isfinite(value->value.f32)) &&
	       (value->kind != AMQP_FIELD_KIND_F64 || isfinite(value->value.f64));
}

static void json_put(struct writer *to, const amqp_field_value_t *value, unsigned depth)
{
	if (value->kind == AMQP_FIELD_KIND_UTF8 || value->kind == AMQP_FIELD_KIND_BYTES)
		json_string_put(to, value->value.bytes);
	else if (value->kind == AMQP_FIELD_KIND_ARRAY && depth < DEPTH_MOST)
		json_array_put(to, &value->value.array, depth + 1);
	else if (value->kind == AMQP_FIELD_KIND_TABLE && depth < DEPTH_MOST)
		json_table_put(to, &value->value.table, depth + 1);
	else if (!is_number(value) || !scalar_put(to, value))
		text_put(to, "null");
}

// ---- what the header says

size_t rabbitmq_field_text(const amqp_field_value_t *value, uint8_t *room, size_t size)
{
	struct writer to = {.room = room, .size = size};

	switch (value->kind) {
	case AMQP_FIELD_KIND_UTF8:
	case AMQP_FIELD_KIND_BYTES:
		bytes_put(&to, value->value.bytes.bytes, value->value.bytes.len);
		break;
	case AMQP_FIELD_KIND_ARRAY:
	case AMQP_FIELD_KIND_TABLE: json_put(&to, value, 0); break;
	default: scalar_put(&to, value); break;
	}
	return to.used;
}
