// Encodes changes of the catalog by the field tables, and decodes them.
//
// A row is an operation, a kind, a size, the id and, for an object that is put, its revision and
// members. Text carries its terminating zero so that a row is read in place.
//
// Nothing read here is trusted beyond its checksum: every length is checked against what is left.

#include "core/catalog/change.h"

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "core/model/field.h"

#include <errno.h>
#include <stdio.h>

#define CHANGE_MAGIC   0x4350514du // "MQPC"
#define CHANGE_VERSION 2
#define AT_ROWS_CRC    60
#define AT_HEAD_CRC    64
#define VARINT_MAX     10
#define ROW_HEAD       (1 + 1 + 4)

enum row_op { ROW_PUT = 1, ROW_GONE = 2 };

// ---- writing

static int reserve_bytes(struct change_writer *writer, size_t more)
{
	size_t need = writer->change->size + more, capacity = writer->capacity;
	struct catalog_change *grown;

	if (need <= capacity)
		return 0;
	while (capacity < need)
		capacity *= 2;
	grown = realloc(writer->change, sizeof *grown + capacity);
	if (!grown)
		return -ENOMEM;
	writer->change = grown;
	writer->capacity = capacity;
	return 0;
}

static int put_bytes(struct change_writer *writer, const void *bytes, size_t size)
{
	int r = reserve_bytes(writer, size);

	if (r < 0)
		return r;
	if (size)
		memcpy(writer->change->data + writer->change->size, bytes, size);
	writer->change->size += size;
	return 0;
}

static int put_int(struct change_writer *writer, uint64_t value)
{
	uint8_t bytes[VARINT_MAX];
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		bytes[n++] = (uint8_t)(value | 0x80);
	bytes[n++] = (uint8_t)value;
	return put_bytes(writer, bytes, n);
}

// Size of the text with its zero, 0 for none.
static int put_text(struct change_writer *writer, const char *text)
{
	size_t size = text ? strlen(text) + 1 : 0;
	int r = put_int(writer, size);

	return r < 0 ? r : put_bytes(writer, text, size);
}

static void secret_row(const struct model_object *object, char row[40])
{
	snprintf(row, 40, "change/%u/%llu", object->kind, (unsigned long long)object->id);
}

static int put_secret(struct change_writer *writer, const struct model_object *object,
		      const char *text)
{
	size_t size = text && writer->key ? strlen(text) + 1 + SEAL_OVERHEAD : 0;
	char row[40];
	int r = put_int(writer, size);

	if (r < 0 || size == 0)
		return r;
	r = reserve_bytes(writer, size);
	if (r < 0)
		return r;
	secret_row(object, row);
	r = seal_close(writer->key, row, text, size - SEAL_OVERHEAD,
		       writer->change->data + writer->change->size);
	writer->change->size += size;
	return r;
}

static int put_list(struct change_writer *writer, const struct field *field, const char *object)
{
	size_t count = *(const size_t *)(const void *)(object + field->count_offset);
	const void *list = *(void *const *)(const void *)(object + field->offset);
	int r = put_int(writer, count);

	for (size_t i = 0; i < count && r == 0; ++i) {
		if (field->type == FIELD_REFS) {
			r = put_int(writer, ((const uint64_t *)list)[i]);
		} else if (field->type == FIELD_NETWORKS) {
			r = put_text(writer, ((const char *const *)list)[i]);
		} else {
			r = put_text(writer, ((const struct access_grant *)list)[i].pattern);
			if (r == 0)
				r = put_int(writer, ((const struct access_grant *)list)[i].rights);
		}
	}
	return r;
}

static int put_field(struct change_writer *writer, const struct field *field,
		     const struct model_object *object)
{
	const char *at = (const char *)object + field->offset;

	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_NAME:
	case FIELD_OBJECT: return put_text(writer, *(const char *const *)(const void *)at);
	case FIELD_SECRET:
		return put_secret(writer, object, *(const char *const *)(const void *)at);
	case FIELD_BYTES: return put_bytes(writer, at, field->size);
	case FIELD_REFS:
	case FIELD_NETWORKS:
	case FIELD_GRANTS: return put_list(writer, field, (const char *)object);
	default: return put_int(writer, field_get(field, object));
	}
}

int change_begin(struct change_writer *writer, const struct change_head *head,
		 const struct seal_key *key)
{
	*writer = (struct change_writer){.capacity = 512, .head = *head, .key = key};
	writer->change = malloc(sizeof *writer->change + writer->capacity);
	if (!writer->change)
		return -ENOMEM;
	writer->change->size = CHANGE_HEADER_SIZE;
	writer->head.rows = 0;
	return 0;
}

static int row_begin(struct change_writer *writer, enum row_op op, enum model_kind kind,
		     size_t *ret_start)
{
	uint8_t head[ROW_HEAD] = {op, kind};

	*ret_start = writer->change->size;
	++writer->head.rows;
	return put_bytes(writer, head, sizeof head);
}

static void row_end(struct change_writer *writer, size_t start)
{
	le32_put(writer->change->data + start + 2,
		 (uint32_t)(writer->change->size - start - ROW_HEAD));
}

int change_put(struct change_writer *writer, const struct model_object *object)
{
	const struct field_table *table = field_table(object->kind);
	size_t start;
	int r = row_begin(writer, ROW_PUT, object->kind, &start);

	if (r == 0)
		r = put_int(writer, object->id);
	if (r == 0)
		r = put_int(writer, object->revision);
	for (size_t i = 0; i < table->count && r == 0; ++i)
		r = put_field(writer, &table->fields[i], object);
	if (r == 0)
		row_end(writer, start);
	return r;
}

int change_gone(struct change_writer *writer, enum model_kind kind, uint64_t id)
{
	size_t start;
	int r = row_begin(writer, ROW_GONE, kind, &start);

	if (r == 0)
		r = put_int(writer, id);
	if (r == 0)
		row_end(writer, start);
	return r;
}

struct catalog_change *change_end(struct change_writer *writer)
{
	struct catalog_change *change = writer->change;
	size_t size = change->size - CHANGE_HEADER_SIZE;
	uint8_t *head = change->data;

	le32_put(head, CHANGE_MAGIC);
	le16_put(head + 4, CHANGE_VERSION);
	le16_put(head + 6, writer->head.full);
	le64_put(head + 8, writer->head.source);
	le64_put(head + 16, writer->head.from);
	le64_put(head + 24, writer->head.to);
	le64_put(head + 32, size);
	le32_put(head + 40, writer->head.rows);
	le64_put(head + 44, writer->head.installation);
	le64_put(head + 52, writer->head.next_id);
	le32_put(head + AT_ROWS_CRC, crc32c(0, head + CHANGE_HEADER_SIZE, size));
	le32_put(head + AT_HEAD_CRC, crc32c(0, head, AT_HEAD_CRC));
	writer->change = NULL;
	return change;
}

void change_abandon(struct change_writer *writer)
{
	free(writer->change);
	writer->change = NULL;
}

// ---- reading

int change_head_read(const uint8_t *data, size_t size, struct change_head *ret)
{
	if (size < CHANGE_HEADER_SIZE || le32_get(data) != CHANGE_MAGIC ||
	    le32_get(data + AT_HEAD_CRC) != crc32c(0, data, AT_HEAD_CRC))
		return -EBADMSG;
	if (le16_get(data + 4) != CHANGE_VERSION)
		return -ENOTSUP;
	*ret = (struct change_head){
		.full = le16_get(data + 6) & 1,
		.source = le64_get(data + 8),
		.from = le64_get(data + 16),
		.to = le64_get(data + 24),
		.size = le64_get(data + 32),
		.rows = le32_get(data + 40),
		.installation = le64_get(data + 44),
		.next_id = le64_get(data + 52),
	};
	return 0;
}

int change_open(struct change_reader *reader, const uint8_t *data, size_t size,
		const struct seal_key *key)
{
	int r;

	*reader = (struct change_reader){.key = key};
	r = change_head_read(data, size, &reader->head);
	if (r < 0)
		return r;
	if (reader->head.size != size - CHANGE_HEADER_SIZE ||
	    le32_get(data + AT_ROWS_CRC) != crc32c(0, data + CHANGE_HEADER_SIZE, reader->head.size))
		return -EBADMSG;
	reader->at = data + CHANGE_HEADER_SIZE;
	reader->end = data + size;
	reader->left = reader->head.rows;
	return 0;
}

void change_close(struct change_reader *reader)
{
	free(reader->scratch);
	reader->scratch = NULL;
}

// One row: what is left of it, and how much of the scratch memory its lists have taken.
struct row {
	struct change_reader *reader;
	const uint8_t *at, *end;
	size_t scratch_used;
	char *secret; // opened, to be freed
};

static int get_int(struct row *row, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && row->at < row->end; shift += 7) {
		uint8_t byte = *row->at++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = value;
			return 0;
		}
	}
	return -EBADMSG;
}

static int get_span(struct row *row, const uint8_t **ret, size_t *ret_size)
{
	uint64_t size;
	int r = get_int(row, &size);

	if (r < 0)
		return r;
	if (size > (size_t)(row->end - row->at))
		return -EBADMSG;
	*ret = row->at;
	*ret_size = size;
	row->at += size;
	return 0;
}

static bool text_whole(const uint8_t *text, size_t size)
{
	return memchr(text, 0, size) == text + size - 1;
}

static int get_text(struct row *row, const char **ret)
{
	const uint8_t *text;
	size_t size;
	int r = get_span(row, &text, &size);

	if (r < 0)
		return r;
	if (size && !text_whole(text, size))
		return -EBADMSG;
	*ret = size ? (const char *)text : NULL;
	return 0;
}

// Without the key the object lacks its secret; with a wrong one the row cannot be used.
static int get_secret(struct row *row, const struct model_object *object, const char **ret)
{
	const uint8_t *sealed;
	char name[40];
	size_t size;
	int r = get_span(row, &sealed, &size);

	*ret = NULL;
	if (r < 0 || size == 0 || !row->reader->key)
		return r;
	if (size <= SEAL_OVERHEAD || row->secret)
		return -EBADMSG;
	row->secret = malloc(size - SEAL_OVERHEAD);
	if (!row->secret)
		return -ENOMEM;
	secret_row(object, name);
	r = seal_open(row->reader->key, name, sealed, size, row->secret);
	if (r < 0)
		return r;
	if (!text_whole((const uint8_t *)row->secret, size - SEAL_OVERHEAD))
		return -EBADMSG;
	*ret = row->secret;
	return 0;
}

// Arrays of a draft point into the scratch memory, which therefore must not move within a row: it
// is made large enough for the whole row before. An element takes at least one byte of the row and
// at most sizeof(struct access_grant) of scratch.
static int scratch_prepare(struct row *row)
{
	struct change_reader *reader = row->reader;
	size_t need = (size_t)(row->end - row->at) * sizeof(struct access_grant);
	void *grown;

	if (need <= reader->scratch_size)
		return 0;
	grown = realloc(reader->scratch, need);
	if (!grown)
		return -ENOMEM;
	reader->scratch = grown;
	reader->scratch_size = need;
	return 0;
}

static int get_list(struct row *row, const struct field *field, char *object)
{
	char *list = (char *)row->reader->scratch + row->scratch_used;
	size_t item = field->type == FIELD_GRANTS ? sizeof(struct access_grant) : sizeof(uint64_t);
	uint64_t count, rights = 0;
	int r = get_int(row, &count);

	if (r < 0)
		return r;
	if (count > (size_t)(row->end - row->at))
		return -EBADMSG;
	for (size_t i = 0; i < count && r == 0; ++i) {
		void *at = list + i * item;

		if (field->type == FIELD_REFS) {
			r = get_int(row, at);
			continue;
		}
		r = get_text(row, at);
		if (r == 0 && !*(const char **)at)
			r = -EBADMSG;
		if (r == 0 && field->type == FIELD_GRANTS) {
			r = get_int(row, &rights);
			((struct access_grant *)at)->rights = (uint32_t)rights;
		}
	}
	row->scratch_used += count * item;
	*(size_t *)(void *)(object + field->count_offset) = count;
	*(void **)(void *)(object + field->offset) = count ? list : NULL;
	return r;
}

static int get_bytes(struct row *row, const struct field *field, char *at)
{
	if (field->size > (size_t)(row->end - row->at))
		return -EBADMSG;
	memcpy(at, row->at, field->size);
	row->at += field->size;
	return 0;
}

static int get_number(struct row *row, const struct field *field, void *object)
{
	uint64_t value;
	int r = get_int(row, &value);

	if (r < 0)
		return r;
	if (field->type == FIELD_ENUM && value > field->max)
		return -EBADMSG; // a newer writer's word, which this reader cannot act on
	field_set(field, object, value);
	return field_get(field, object) == value ? 0 : -EBADMSG;
}

static int get_field(struct row *row, const struct field *field, struct model_object *object)
{
	char *at = (char *)object + field->offset;

	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_NAME:
	case FIELD_OBJECT: return get_text(row, (const char **)(void *)at);
	case FIELD_SECRET: return get_secret(row, object, (const char **)(void *)at);
	case FIELD_BYTES: return get_bytes(row, field, at);
	case FIELD_REFS:
	case FIELD_NETWORKS:
	case FIELD_GRANTS: return get_list(row, field, (char *)object);
	default: return get_number(row, field, object);
	}
}

// A field that the writer did not know yet.
static int get_initial(const struct field *field, struct model_object *object)
{
	field_set_initial(field, object);
	// Some have no value of their own until something is decided when they are made.
	return field->type == FIELD_ENUM && field_get(field, object) > field->max ? -EBADMSG : 0;
}

static int get_object(struct row *row, struct change_row *ret)
{
	const struct field_table *table = field_table(ret->kind);
	union model_any draft = {0};
	int r = get_int(row, &draft.object.revision);

	draft.object.id = ret->id;
	draft.object.kind = (uint8_t)ret->kind;
	if (r == 0)
		r = scratch_prepare(row);
	for (size_t i = 0; i < table->count && r == 0; ++i)
		r = row->at < row->end ? get_field(row, &table->fields[i], &draft.object)
				       : get_initial(&table->fields[i], &draft.object);
	// The first field of every table is the object's name, and every object has one.
	if (r == 0 && !*(const char **)(void *)((char *)&draft + table->fields[0].offset))
		r = -EBADMSG;
	if (r < 0)
		return r;
	ret->object = model_new(ret->kind, &draft);
	return ret->object ? 0 : -ENOMEM;
}

int change_next(struct change_reader *reader, struct change_row *ret)
{
	struct row row = {.reader = reader};
	uint32_t size;
	uint8_t op;
	int r;

	if (reader->left == 0)
		return reader->at == reader->end ? 0 : -EBADMSG;
	if ((size_t)(reader->end - reader->at) < ROW_HEAD)
		return -EBADMSG;
	op = reader->at[0];
	*ret = (struct change_row){.kind = reader->at[1]};
	size = le32_get(reader->at + 2);
	row.at = reader->at + ROW_HEAD;
	if (ret->kind >= MODEL_KIND_COUNT || size > (size_t)(reader->end - row.at))
		return -EBADMSG;
	row.end = row.at + size;
	r = get_int(&row, &ret->id);
	if (r == 0 && ret->id == 0) // means "none" wherever an id is
		r = -EBADMSG;
	if (r == 0 && op == ROW_PUT)
		r = get_object(&row, ret);
	else if (r == 0 && op != ROW_GONE)
		r = -EBADMSG;
	free(row.secret);
	if (r < 0)
		return r;
	reader->at = row.end;
	--reader->left;
	return 1;
}
