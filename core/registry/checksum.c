// Computes the checksum of a row: of its members as the program sees them, by the field tables, not
// of the bytes in the file. So writing and reading agree in whatever form SQLite stores a value.
//
// Absent and empty texts differ, and every text and list is preceded by its length, so that no two
// rows give the same bytes. It guards against damage, not against a forger, who can write the
// checksum as well as the row (the audit log has its hash chain for that).

#include "core/registry/checksum.h"

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "core/registry/registry.h"

#include <stdarg.h>

static void add_number(uint32_t *crc, uint64_t value)
{
	uint8_t bytes[8];

	le64_put(bytes, value);
	*crc = crc32c(*crc, bytes, sizeof bytes);
}

static void add_text(uint32_t *crc, const char *text)
{
	size_t size = text ? strlen(text) : 0;

	add_number(crc, text ? size : UINT64_MAX);
	*crc = crc32c(*crc, text, size);
}

static void add_list(uint32_t *crc, const struct field *field, const char *base)
{
	const void *list = *(void *const *)(const void *)(base + field->offset);
	size_t count = *(const size_t *)(const void *)(base + field->count_offset);

	add_number(crc, count);
	for (size_t i = 0; i < count; ++i) {
		const struct access_grant *grant = &((const struct access_grant *)list)[i];

		if (field->type == FIELD_REFS) {
			add_number(crc, ((const uint64_t *)list)[i]);
		} else if (field->type == FIELD_NETWORKS) {
			add_text(crc, ((const char *const *)list)[i]);
		} else {
			add_text(crc, grant->pattern);
			add_number(crc, grant->rights);
		}
	}
}

static void add_field(uint32_t *crc, const struct field *field, const struct row *row)
{
	const char *base = (const char *)row, *at = base + field->offset;

	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_NAME:
	case FIELD_OBJECT:
	case FIELD_SECRET: add_text(crc, *(const char *const *)(const void *)at); break;
	case FIELD_BYTES: *crc = crc32c(*crc, at, field->size); break;
	case FIELD_REFS:
	case FIELD_NETWORKS:
	case FIELD_GRANTS: add_list(crc, field, base); break;
	default: add_number(crc, field_get(field, row)); break;
	}
}

uint32_t checksum_row(enum registry_kind kind, const struct row *row)
{
	struct json_shape shape = row_kind(kind).shape;
	uint32_t crc = 0;

	add_number(&crc, kind);
	add_number(&crc, row->object.id);
	add_number(&crc, row->object.revision);
	for (size_t t = 0; t < ARRAY_SIZE(shape.tables); ++t)
		for (size_t i = 0; i < shape.tables[t]->count; ++i)
			add_field(&crc, &shape.tables[t]->fields[i], row);
	return crc;
}

uint32_t checksum_values(const char *types, ...)
{
	uint32_t crc = 0;
	va_list args;

	va_start(args, types);
	for (; *types; ++types) {
		const void *bytes;
		size_t size;

		switch (*types) {
		case 'i': add_number(&crc, (uint64_t)va_arg(args, int64_t)); break;
		case 't': add_text(&crc, va_arg(args, const char *)); break;
		default:
			assert(*types == 'b');
			bytes = va_arg(args, const void *);
			size = va_arg(args, size_t);
			add_number(&crc, size);
			crc = crc32c(crc, bytes, size);
		}
	}
	va_end(args);
	return crc;
}
