// Replays every golden vector (tests/vectors) through the C codec: what the bytes say is read and
// compared, then written again and compared with the bytes; what must be refused is.
//
// The files are made by a codec in another language, so an error here is not repeated there. Each
// kind of vector has a row in KINDS with its replay function.

#include "core/net/scram.h"
#include "core/wire/codec.h"
#include "core/wire/credit.h"
#include "core/wire/deliver.h"
#include "core/wire/fields.h"
#include "core/wire/partition.h"
#include "core/wire/produce.h"
#include "core/wire/produced.h"
#include "core/wire/record.h"
#include "core/wire/settle.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <jansson.h>

#define ROOM (64u << 10)

struct vector {
	const json_t *root, *value; // value NULL: to be refused
	const char *refused;
	struct slice bytes;
};

// ---- what a value is made of

// Memory that one vector needs; given back when it has been replayed.
static void *kept[4096];
static size_t kept_count;

static void *keep(size_t size)
{
	CHECK(kept_count < ARRAY_SIZE(kept));
	kept[kept_count] = calloc(1, size ? size : 1);
	CHECK(kept[kept_count]);
	return kept[kept_count++];
}

static void kept_free(void)
{
	while (kept_count > 0)
		free(kept[--kept_count]);
}

static const json_t *member(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!value)
		fprintf(stderr, "no member %s\n", name);
	CHECK(value);
	return value;
}

// Numbers of 2^53 and more stand as decimal strings.
static uint64_t number(const json_t *value)
{
	if (json_is_boolean(value))
		return json_is_true(value);
	if (json_is_string(value)) {
		const char *text = json_string_value(value);

		return text[0] == '-' ? (uint64_t)strtoll(text, NULL, 10)
				      : strtoull(text, NULL, 10);
	}
	CHECK(json_is_integer(value));
	return (uint64_t)json_integer_value(value);
}

static uint64_t number_of(const json_t *object, const char *name)
{
	return number(member(object, name));
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(member(object, name));

	CHECK(text);
	return text;
}

static size_t hex_read(const char *text, uint8_t *room)
{
	size_t size = 0;

	for (; *text; ++text) {
		char digits[3] = {text[0], text[1]};

		if (*text == ' ')
			continue;
		room[size++] = (uint8_t)strtoul(digits, NULL, 16);
		++text;
	}
	return size;
}

// Bytes in hex; data NULL: null.
static struct slice bytes_of(const json_t *value)
{
	uint8_t *room;

	if (json_is_null(value))
		return (struct slice){NULL, 0};
	room = keep(json_string_length(value));
	return (struct slice){room, hex_read(json_string_value(value), room)};
}

static struct slice lines_of(const json_t *array)
{
	uint8_t *room = keep(json_array_size(array) * 16);
	size_t size = 0;

	for (size_t i = 0; i < json_array_size(array); ++i)
		size += hex_read(json_string_value(json_array_get(array, i)), room + size);
	return (struct slice){room, size};
}

static bool same(struct slice a, struct slice b)
{
	if (!a.data || !b.data)
		return a.data == b.data && a.size == b.size;
	return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

#define CHECK_SAME(a, b) CHECK(same(a, b))

static void refused_as(const struct vector *vector, const char *code)
{
	CHECK(vector->refused);
	CHECK_STR(code, vector->refused);
}

// ---- preface, frames, fields

static void preface_replay(const struct vector *vector)
{
	CHECK_SAME(vector->bytes, ((struct slice){frame_preface, WIRE_PREFACE_SIZE}));
	CHECK_EQ(number_of(vector->value, "version"), WIRE_VERSION);
}

// `root` names the sender.
static void frame_check(const struct vector *vector, uint32_t max)
{
	unsigned sender = strcmp(text_of(vector->root, "sender"), "client") == 0 ? WIRE_BY_CLIENT
										 : WIRE_BY_SERVER;
	struct frame_header header;
	uint8_t *written;
	struct slice payload;

	CHECK(vector->bytes.size >= WIRE_HEADER_SIZE);
	if (frame_decode(vector->bytes.data, sender, max, &header)) {
		refused_as(vector, "PROTOCOL");
		return;
	}
	CHECK_EQ(vector->bytes.size, WIRE_HEADER_SIZE + header.size);
	if (!frame_crc_ok(&header, vector->bytes.data + WIRE_HEADER_SIZE)) {
		refused_as(vector, "CORRUPT");
		return;
	}
	CHECK(vector->value);
	CHECK_STR(frame_name(header.type), text_of(vector->value, "type"));
	CHECK_EQ(header.flags & FRAME_CODEC_MASK, number_of(vector->value, "codec"));
	CHECK_EQ(!!(header.flags & FRAME_ONEWAY), number_of(vector->value, "oneway"));
	CHECK_EQ(header.stream, number_of(vector->value, "stream"));
	payload = bytes_of(member(vector->value, "payload"));
	written = keep(WIRE_HEADER_SIZE + payload.size);
	if (payload.size)
		memcpy(written + WIRE_HEADER_SIZE, payload.data, payload.size);
	frame_seal(written, header.type, header.flags, header.stream, (uint32_t)payload.size);
	CHECK_SAME(vector->bytes, ((struct slice){written, WIRE_HEADER_SIZE + payload.size}));
}

static void frame_replay(const struct vector *vector)
{
	frame_check(vector, (uint32_t)number_of(vector->root, "max_payload"));
}

// The frames of both sides; that a proxy answers so is for tests/e2e/test_dataplane_streams.py.
static void exchange_replay(const struct vector *vector)
{
	struct slice rest = vector->bytes;

	for (size_t i = 0; i < json_array_size(vector->value); ++i) {
		const json_t *item = json_array_get(vector->value, i);
		struct vector frame = {.root = item, .value = item};

		CHECK(rest.size >= WIRE_HEADER_SIZE);
		frame.bytes = (struct slice){rest.data, WIRE_HEADER_SIZE + le32_get(rest.data)};
		CHECK(rest.size >= frame.bytes.size);
		frame_check(&frame, ROOM);
		rest.data += frame.bytes.size;
		rest.size -= frame.bytes.size;
	}
	CHECK_EQ(rest.size, 0);
}

#define FIELD_NAME(name, tag, type, max, repeats) {#name, tag, type},
static const struct {
	const char *name;
	enum field_tag tag;
	enum field_type type;
} field_names[] = {FIELD_TABLE(FIELD_NAME)};

static size_t field_row(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(field_names); ++i)
		if (strcasecmp(field_names[i].name, name) == 0)
			return i;
	fprintf(stderr, "no field %s\n", name);
	exit(1);
}

static void text_field_check(const struct fields *fields, enum field_tag tag, const json_t *value,
			     size_t *cursor)
{
	struct slice got;

	CHECK(fields_next(fields, tag, cursor, &got));
	CHECK_SAME(got, ((struct slice){(const uint8_t *)json_string_value(value),
					json_string_length(value)}));
}

static void field_replay(const struct fields *fields, size_t row, const json_t *value,
			 struct field_writer *writer)
{
	enum field_tag tag = field_names[row].tag;
	size_t cursor = 0;

	CHECK(fields_has(fields, tag));
	if (json_is_array(value)) {
		for (size_t i = 0; i < json_array_size(value); ++i) {
			const json_t *one = json_array_get(value, i);

			text_field_check(fields, tag, one, &cursor);
			field_put_text(writer, tag, json_string_value(one));
		}
	} else if (field_names[row].type == FIELD_IS_TEXT) {
		text_field_check(fields, tag, value, &cursor);
		field_put_text(writer, tag, json_string_value(value));
	} else if (field_names[row].type == FIELD_IS_BYTES) {
		struct slice bytes = bytes_of(value);

		CHECK_SAME(fields->values[tag], bytes);
		field_put_bytes(writer, tag, bytes.data, bytes.size);
	} else {
		CHECK_EQ(fields_int(fields, tag, 0), number(value));
		field_put_int(writer, tag, number(value));
	}
}

static void fields_replay(const struct vector *vector)
{
	struct field_writer writer;
	struct fields fields;
	const char *name;
	json_t *value;
	size_t present = 0;

	if (fields_read(vector->bytes.data, vector->bytes.size, &fields)) {
		refused_as(vector, "PROTOCOL");
		return;
	}
	CHECK(vector->value);
	field_writer_init(&writer, keep(ROOM), ROOM);
	json_object_foreach((json_t *)(uintptr_t)vector->value, name, value)
	{
		field_replay(&fields, field_row(name), value, &writer);
	}
	for (unsigned tag = 1; tag < FIELD_TAG_END; ++tag)
		present += fields_has(&fields, tag);
	CHECK_EQ(present, json_object_size(vector->value));
	if (!json_object_get(vector->root, "read_only"))
		CHECK_SAME(vector->bytes, ((struct slice){writer.data, writer.size}));
}

// ---- records

static void header_check(const struct record_view *view, size_t *cursor, const json_t *row,
			 struct record_header *ret)
{
	const json_t *name = json_array_get(row, 0);
	struct record_header got;

	*ret = (struct record_header){
		{(const uint8_t *)json_string_value(name), json_string_length(name)},
		bytes_of(json_array_get(row, 1))};
	CHECK(record_header_next(view, cursor, &got));
	CHECK_SAME(got.name, ret->name);
	CHECK_SAME(got.value, ret->value);
}

static uint64_t optional(const json_t *value, const char *name, uint32_t flag, uint32_t *flags)
{
	const json_t *found = json_object_get(value, name);

	*flags |= found ? flag : 0;
	return found ? number(found) : 0;
}

// What a value says, as parts to write. The headers are compared on the way.
static struct record_parts parts_of(const json_t *value, const struct record_view *view)
{
	const json_t *tag = json_object_get(value, "tag"), *trace = json_object_get(value, "trace"),
		     *headers = json_object_get(value, "headers");
	struct record_header *made = keep(sizeof *made * (json_array_size(headers) + 1));
	struct record_header beyond;
	struct record_parts parts = {.headers = made};
	size_t cursor = 0;

	parts.id = bytes_of(member(value, "id")).data;
	parts.created_ms = (int64_t)number_of(value, "created_ms");
	parts.due_ms = (int64_t)optional(value, "due_ms", RECORD_DUE, &parts.flags);
	parts.ttl_ms = (uint32_t)optional(value, "ttl_ms", RECORD_TTL, &parts.flags);
	parts.priority = (uint8_t)optional(value, "priority", RECORD_PRIORITY, &parts.flags);
	parts.partition = (uint32_t)optional(value, "partition", RECORD_PARTITION, &parts.flags);
	parts.key = bytes_of(member(value, "key"));
	parts.body = bytes_of(member(value, "body"));
	if (tag)
		parts.tag = (struct slice){(const uint8_t *)json_string_value(tag),
					   json_string_length(tag)};
	parts.trace = trace ? bytes_of(trace).data : NULL;
	parts.header_count = (uint16_t)json_array_size(headers);
	for (size_t i = 0; i < parts.header_count; ++i)
		header_check(view, &cursor, json_array_get(headers, i), &made[i]);
	CHECK(!record_header_next(view, &cursor, &beyond));
	return parts;
}

// A checked record against its value, read and written.
static void record_compare(const uint8_t *data, const json_t *value)
{
	struct record_view view;
	struct record_parts parts;
	uint8_t *written;

	record_read(data, &view);
	parts = parts_of(value, &view);
	CHECK(memcmp(view.id, parts.id, RECORD_ID_SIZE) == 0);
	CHECK_EQ(view.created_ms, parts.created_ms);
	CHECK_EQ(view.due_ms, parts.due_ms);
	CHECK_EQ(view.ttl_ms, parts.ttl_ms);
	CHECK_EQ(view.priority, parts.flags & RECORD_PRIORITY ? parts.priority : 4);
	CHECK_EQ(view.partition, parts.partition);
	CHECK_SAME(view.key, parts.key);
	CHECK_SAME(record_key(data), parts.key);
	CHECK_SAME(view.body, parts.body);
	CHECK_SAME(view.tag, parts.tag);
	CHECK_EQ(!view.trace, !parts.trace);
	if (view.trace)
		CHECK(memcmp(view.trace, parts.trace, RECORD_TRACE_SIZE) == 0);
	written = keep(record_parts_size(&parts));
	record_write(&parts, written);
	CHECK_SAME(((struct slice){data, record_size(data)}),
		   ((struct slice){written, record_parts_size(&parts)}));
}

static void record_replay(const struct vector *vector)
{
	uint32_t size;

	switch (record_check(vector->bytes.data, vector->bytes.size, &size)) {
	case RECORD_BROKEN: refused_as(vector, "PROTOCOL"); return;
	case RECORD_MALFORMED: refused_as(vector, "BAD_REQUEST"); return;
	case RECORD_OK: break;
	}
	CHECK(vector->value);
	CHECK_EQ(size, vector->bytes.size);
	record_compare(vector->bytes.data, vector->value);
}

// ---- batches

// How many bytes the head and `count` records take; 0: they do not chain.
static size_t records_chain(struct slice payload, uint32_t count)
{
	size_t at = PRODUCE_HEAD_SIZE;

	for (uint32_t i = 0; i < count; ++i) {
		uint32_t size;

		if (record_check(payload.data + at, payload.size - at, &size) == RECORD_BROKEN)
			return 0;
		at += size;
	}
	return at;
}

static void produce_replay(const struct vector *vector)
{
	const json_t *records;
	struct produce_head head;
	uint8_t written[PRODUCE_HEAD_SIZE];
	size_t at = PRODUCE_HEAD_SIZE;

	if (produce_head_read(vector->bytes.data, vector->bytes.size, &head) ||
	    records_chain(vector->bytes, head.count) != vector->bytes.size) {
		refused_as(vector, "PROTOCOL");
		return;
	}
	CHECK(vector->value);
	records = member(vector->value, "records");
	CHECK_EQ(head.batch, number_of(vector->value, "batch"));
	CHECK_EQ(head.count, json_array_size(records));
	for (size_t i = 0; i < head.count; ++i) {
		record_compare(vector->bytes.data + at, json_array_get(records, i));
		at += record_size(vector->bytes.data + at);
	}
	produce_head_write(written, &head);
	CHECK(memcmp(written, vector->bytes.data, sizeof written) == 0);
}

static struct produced_run run_of(const json_t *row)
{
	return (struct produced_run){
		.count = (uint32_t)number_of(row, "count"),
		.outcome = (uint8_t)number_of(row, "outcome"),
		.durability = (uint8_t)number_of(row, "durability"),
		.code = (uint16_t)number_of(row, "code"),
		.retry_after_ms = (uint32_t)number_of(row, "retry_after_ms"),
		.partition = (uint32_t)number_of(row, "partition"),
		.offset = number_of(row, "offset"),
		.incarnation = number_of(row, "incarnation"),
	};
}

static void produced_replay(const struct vector *vector)
{
	const json_t *rows;
	struct produce_head head;
	size_t runs;

	if (produced_check(vector->bytes.data, vector->bytes.size, &head, &runs)) {
		refused_as(vector, "PROTOCOL");
		return;
	}
	CHECK(vector->value);
	rows = member(vector->value, "runs");
	CHECK_EQ(head.batch, number_of(vector->value, "batch"));
	CHECK_EQ(runs, json_array_size(rows));
	for (size_t i = 0; i < runs; ++i) {
		const uint8_t *at = vector->bytes.data + PRODUCED_HEAD_SIZE + i * PRODUCED_RUN_SIZE;
		struct produced_run wanted = run_of(json_array_get(rows, i)), got;
		uint8_t written[PRODUCED_RUN_SIZE];

		produced_run_read(at, &got);
		CHECK(memcmp(&got, &wanted, sizeof got) == 0);
		produced_run_write(written, &wanted);
		CHECK(memcmp(at, written, sizeof written) == 0);
	}
}

// ---- deliveries and settles

static void credit_compare(const struct vector *vector, bool begun)
{
	struct credit credit;
	uint8_t written[CREDIT_BEGUN_SIZE];
	size_t size;

	if (credit_read(vector->bytes.data, vector->bytes.size, begun, &credit)) {
		refused_as(vector, "PROTOCOL");
		return;
	}
	CHECK(vector->value);
	CHECK_EQ(credit.messages, number_of(vector->value, "messages"));
	CHECK_EQ(credit.bytes, number_of(vector->value, "bytes"));
	CHECK_EQ(credit.drain, number_of(vector->value, "drain"));
	CHECK_EQ(credit.begun, begun ? number_of(vector->value, "begun") : 0);
	size = credit_write(written, begun, &credit);
	CHECK_SAME(vector->bytes, ((struct slice){written, size}));
}

static void credit_replay(const struct vector *vector)
{
	credit_compare(vector, false);
}

static void credit_begun_replay(const struct vector *vector)
{
	credit_compare(vector, true);
}

static void delivery_compare(const struct deliver_entry *entry, const json_t *row)
{
	uint8_t written[DELIVER_ENTRY_SIZE];

	CHECK_EQ(entry->offset, number_of(row, "offset"));
	CHECK_EQ(entry->stored_ms, (int64_t)number_of(row, "stored_ms"));
	CHECK_EQ(entry->attempt, number_of(row, "attempt"));
	CHECK_EQ(entry->flags, number_of(row, "flags"));
	record_compare(entry->record, member(row, "record"));
	deliver_entry_write(written, entry);
	CHECK(memcmp(written, entry->record - DELIVER_ENTRY_SIZE, sizeof written) == 0);
}

static void deliver_compare(const struct vector *vector, bool begun)
{
	struct deliver_head head;
	struct deliver_entry entry;
	uint8_t written[DELIVER_HEAD_SIZE];
	const json_t *rows;
	size_t cursor = 0, count = 0;

	if (deliver_check(vector->bytes.data, vector->bytes.size, begun, &head)) {
		refused_as(vector, "PROTOCOL");
		return;
	}
	CHECK(vector->value);
	rows = member(vector->value, "entries");
	CHECK_EQ(head.partition, number_of(vector->value, "partition"));
	CHECK_EQ(head.epoch, number_of(vector->value, "epoch"));
	while (deliver_next(vector->bytes.data, vector->bytes.size, &cursor, &entry))
		delivery_compare(&entry, json_array_get(rows, count++));
	CHECK_EQ(count, json_array_size(rows));
	CHECK_EQ(count, head.count);
	deliver_head_write(written, &head);
	CHECK(memcmp(written, vector->bytes.data, sizeof written) == 0);
}

static void deliver_replay(const struct vector *vector)
{
	deliver_compare(vector, false);
}

static void deliver_begun_replay(const struct vector *vector)
{
	deliver_compare(vector, true);
}

static void settle_entry_compare(const uint8_t *at, const json_t *row)
{
	struct settle_entry entry;
	uint8_t written[SETTLE_ENTRY_SIZE];

	settle_entry_read(at, &entry);
	CHECK_EQ(entry.verb, number_of(row, "verb"));
	CHECK_EQ(entry.partition, number_of(row, "partition"));
	CHECK_EQ(entry.epoch, number_of(row, "epoch"));
	CHECK_EQ(entry.offset, number_of(row, "offset"));
	CHECK_EQ(entry.count, number_of(row, "count"));
	CHECK_EQ(entry.attempt, number_of(row, "attempt"));
	CHECK_EQ(entry.ms, number_of(row, "ms"));
	CHECK_EQ(entry.number, number_of(row, "number"));
	settle_entry_write(written, &entry);
	CHECK(memcmp(written, at, sizeof written) == 0);
}

static void settle_head_compare(const struct vector *vector, const struct settle_head *head,
				size_t count)
{
	uint8_t written[SETTLE_HEAD_SIZE];

	CHECK_EQ(head->settle, number_of(vector->value, "settle"));
	CHECK_EQ(head->count, count);
	settle_head_write(written, head);
	CHECK(memcmp(written, vector->bytes.data, sizeof written) == 0);
}

static void settle_compare(const struct vector *vector, bool begun)
{
	struct settle_head head;
	const json_t *rows;

	if (settle_check(vector->bytes.data, vector->bytes.size, begun, &head)) {
		refused_as(vector, "PROTOCOL");
		return;
	}
	CHECK(vector->value);
	rows = member(vector->value, "entries");
	settle_head_compare(vector, &head, json_array_size(rows));
	for (size_t i = 0; i < head.count; ++i)
		settle_entry_compare(vector->bytes.data + SETTLE_HEAD_SIZE + i * SETTLE_ENTRY_SIZE,
				     json_array_get(rows, i));
}

static void settle_replay(const struct vector *vector)
{
	settle_compare(vector, false);
}

static void settle_begun_replay(const struct vector *vector)
{
	settle_compare(vector, true);
}

static void settled_replay(const struct vector *vector)
{
	struct settle_head head;
	const json_t *rows;

	if (settle_outcome_check(vector->bytes.data, vector->bytes.size, &head)) {
		refused_as(vector, "PROTOCOL");
		return;
	}
	CHECK(vector->value);
	rows = member(vector->value, "answers");
	settle_head_compare(vector, &head, json_array_size(rows));
	for (size_t i = 0; i < head.count; ++i) {
		const uint8_t *at = vector->bytes.data + SETTLED_HEAD_SIZE + i * SETTLED_ENTRY_SIZE;
		const json_t *row = json_array_get(rows, i);
		struct settle_outcome entry;
		uint8_t written[SETTLED_ENTRY_SIZE];

		settle_outcome_read(at, &entry);
		CHECK_EQ(entry.code, number(json_array_get(row, 0)));
		CHECK_EQ(entry.settled, number(json_array_get(row, 1)));
		settle_outcome_write(written, &entry);
		CHECK(memcmp(written, at, sizeof written) == 0);
	}
}

// ---- codecs, partitions, SCRAM

// Compressors differ, so what is compressed here is only read back.
static void codec_replay(const struct vector *vector)
{
	enum frame_codec codec = (enum frame_codec)number_of(vector->root, "codec");
	uint32_t max = (uint32_t)number_of(vector->root, "max");
	struct buf *plain, *packed;
	struct slice wanted;
	int r = codec_decompress(codec, vector->bytes, max, &plain);

	if (r) {
		refused_as(vector, r == CODEC_E_TOO_LARGE ? "PROTOCOL" : "CORRUPT");
		return;
	}
	CHECK(vector->value);
	wanted = bytes_of(member(vector->value, "plain"));
	CHECK_SAME(((struct slice){plain->data, plain->size}), wanted);
	buf_unref(plain);
	r = codec_compress(codec, wanted, &packed);
	if (r == CODEC_E_LARGER)
		return;
	CHECK_EQ(r, 0);
	CHECK_EQ(codec_decompress(codec, (struct slice){packed->data, packed->size}, max, &plain),
		 0);
	CHECK_SAME(((struct slice){plain->data, plain->size}), wanted);
	buf_unref(plain);
	buf_unref(packed);
}

static void partition_replay(const struct vector *vector)
{
	uint32_t partitions = (uint32_t)number_of(vector->value, "partitions");

	CHECK_EQ(partition_hash(vector->bytes.data, vector->bytes.size),
		 number_of(vector->value, "hash"));
	CHECK_EQ(partition_of_key(vector->bytes.data, vector->bytes.size, partitions),
		 number_of(vector->value, "partition"));
}

static struct scram_channel channel_of(const json_t *binding)
{
	struct slice data;

	if (json_is_null(binding))
		return (struct scram_channel){0};
	data = bytes_of(member(binding, "data"));
	return strcmp(text_of(binding, "kind"), "tls-exporter") == 0
		       ? (struct scram_channel){.exporter = data}
		       : (struct scram_channel){.end_point = data};
}

static void scram_replay(const struct vector *vector)
{
	const json_t *value = vector->value, *messages = member(value, "messages");
	struct scram_channel channel = channel_of(member(value, "binding"));
	struct scram_verifier verifier;
	struct scram_client client;
	struct scram_server server;
	struct slice expected[4], salt = bytes_of(member(value, "salt"));
	char message[SCRAM_MESSAGE_MAX];
	bool plus;

	for (size_t i = 0; i < ARRAY_SIZE(expected); ++i) {
		const json_t *text = json_array_get(messages, i);

		expected[i] = (struct slice){(const uint8_t *)json_string_value(text),
					     json_string_length(text)};
	}
	CHECK_EQ(salt.size, SCRAM_SALT_SIZE);
	CHECK_EQ(scram_verifier_make(text_of(value, "secret"), salt.data,
				     (uint32_t)number_of(value, "iterations"), &verifier),
		 0);
	CHECK_EQ(scram_client_start(&client, text_of(value, "user"), text_of(value, "secret"),
				    text_of(value, "client_nonce"), &channel, true, NULL, &plus,
				    message),
		 0);
	CHECK_STR(message, (const char *)expected[0].data);
	CHECK_EQ(plus, !json_is_null(member(value, "binding")));
	CHECK_EQ(scram_server_start(&server, plus, &channel, expected[0]), 0);
	CHECK_STR(server.user, text_of(value, "user"));
	CHECK_EQ(
		scram_server_challenge(&server, &verifier, text_of(value, "server_nonce"), message),
		0);
	CHECK_STR(message, (const char *)expected[1].data);
	CHECK_EQ(scram_client_answer(&client, expected[1], message), 0);
	CHECK_STR(message, (const char *)expected[2].data);
	CHECK_EQ(scram_server_final(&server, expected[2], message), 0);
	CHECK_STR(message, (const char *)expected[3].data);
	CHECK_EQ(scram_client_finish(&client, expected[3]), 0);
	scram_client_deinit(&client);
}

// ---- all of them

static struct {
	const char *name;
	void (*replay)(const struct vector *vector);
	unsigned count;
} kinds[] = {
	{"preface", preface_replay},
	{"frame", frame_replay},
	{"fields", fields_replay},
	{"record", record_replay},
	{"produce", produce_replay},
	{"produced", produced_replay},
	{"credit", credit_replay},
	{"deliver", deliver_replay},
	{"settle", settle_replay},
	{"credit_begun", credit_begun_replay},
	{"deliver_begun", deliver_begun_replay},
	{"settle_begun", settle_begun_replay},
	{"settled", settled_replay},
	{"codec", codec_replay},
	{"partition", partition_replay},
	{"scram", scram_replay},
	{"exchange", exchange_replay},
};

static void replay(const struct vector *vector)
{
	const char *kind = text_of(vector->root, "kind");

	for (size_t i = 0; i < ARRAY_SIZE(kinds); ++i) {
		if (strcmp(kinds[i].name, kind) == 0) {
			kinds[i].replay(vector);
			++kinds[i].count;
			return;
		}
	}
	fprintf(stderr, "no kind %s\n", kind);
	exit(1);
}

static void file_replay(const char *path)
{
	json_error_t error;
	json_t *root = json_load_file(path, 0, &error);
	struct vector vector = {.root = root};

	fprintf(stderr, "# %s\n", path);
	if (!root)
		fprintf(stderr, "line %d: %s\n", error.line, error.text);
	CHECK(root);
	vector.value = json_object_get(root, "value");
	vector.refused = json_string_value(json_object_get(root, "refused"));
	CHECK(!vector.value != !vector.refused);
	vector.bytes = lines_of(member(root, "bytes"));
	replay(&vector);
	kept_free();
	json_decref(root);
}

static int is_vector(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot && strcmp(dot, ".json") == 0;
}

int main(int argc, char **argv)
{
	struct dirent **names;
	char path[1024];
	int count;

	CHECK_EQ(argc, 2);
	count = scandir(argv[1], &names, is_vector, alphasort);
	CHECK(count > 0);
	for (int i = 0; i < count; ++i) {
		CHECK(snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name) <
		      (int)sizeof path);
		free(names[i]);
		file_replay(path);
	}
	free(names);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); ++i)
		CHECK(kinds[i].count > 0);
	printf("%d passed, 0 failed\n", count);
	return 0;
}
