// adapters/rabbitmq/message: records as AMQP messages and back, as each broker hands them out, and
// what native clients write.

#include "adapters/envelope.h"
#include "adapters/rabbitmq/message/arriving.h"
#include "adapters/rabbitmq/message/field_text.h"
#include "adapters/rabbitmq/message/message.h"
#include "core/base/clock.h"
#include "core/wire/partition.h"
#include "tests/unit/unit.h"

#include <errno.h>

#define ROOM        8192
#define ACCEPTED_MS 1600000000123
#define PARTITIONS  9

struct random {
	uint64_t state;
};

static uint32_t next(struct random *random, uint32_t bound)
{
	random->state = random->state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(random->state >> 33) % bound;
}

static struct slice any_slice(struct random *random, const uint8_t *noise)
{
	switch (next(random, 4)) {
	case 0: return (struct slice){NULL, 0};
	case 1: return (struct slice){noise, 0};
	case 2: return (struct slice){(const uint8_t *)"plain text", 1 + next(random, 10)};
	default: return (struct slice){noise + next(random, 64), 1 + next(random, 300)};
	}
}

static struct slice any_name(struct random *random)
{
	static const char *const names[] = {"a",
					    "b",
					    "trace-id",
					    "mqp",
					    "mqp-key",
					    "mqp-copy",
					    "mqp-headers",
					    "mqp-body",
					    "CC",
					    "BCC",
					    "x-death",
					    "x-delivery-count",
					    "x-request-id",
					    "Größe",
					    "aa",
					    "x-opt-any",
					    "ab"};
	static char long_name[600];

	if (next(random, 20) == 0) {
		memset(long_name, 'n', sizeof long_name);
		return (struct slice){(const uint8_t *)long_name, 254 + next(random, 300)};
	}
	const char *name = names[next(random, next(random, 2) ? 2 : ARRAY_SIZE(names))];

	return (struct slice){(const uint8_t *)name, strlen(name)};
}

// A record of any shape.
static void record_make(struct random *random, uint8_t *room)
{
	uint8_t noise[512], id[RECORD_ID_SIZE], trace[RECORD_TRACE_SIZE];
	struct record_header headers[6];
	struct record_parts parts = {.id = id,
				     .created_ms = (int64_t)next(random, 1u << 30) - 1000,
				     .due_ms = (int64_t)random->state,
				     .ttl_ms = next(random, UINT32_MAX),
				     .priority = (uint8_t)next(random, 10),
				     .partition = next(random, PARTITIONS),
				     .headers = headers,
				     .header_count = (uint16_t)next(random, 7)};

	for (size_t i = 0; i < sizeof noise; ++i)
		noise[i] = (uint8_t)next(random, 256);
	memcpy(id, noise, sizeof id);
	id[0] |= 1;
	memcpy(trace, noise + 20, sizeof trace);
	parts.flags = next(random, 16) * RECORD_DUE;
	parts.key = any_slice(random, noise);
	parts.body = any_slice(random, noise);
	parts.trace = next(random, 2) ? trace : NULL;
	if (next(random, 2))
		parts.tag = (struct slice){(const uint8_t *)"blue", 4};
	for (unsigned i = 0; i < parts.header_count; ++i) {
		headers[i].name = any_name(random);
		headers[i].value = any_slice(random, noise);
	}
	assert(record_parts_size(&parts) <= ROOM);
	record_write(&parts, room);
}

// ---- brokers

enum broker {
	BROKER_AS_SENT, // classic queues of 3.10
	BROKER_SORTS,   // quorum queues of 3.10
	BROKER_UNIQUE,  // 4.0
	BROKERS,
};

static int compare_names(const amqp_table_entry_t *a, const amqp_table_entry_t *b)
{
	int order = memcmp(a->key.bytes, b->key.bytes, MIN(a->key.len, b->key.len));

	return order ? order : (int)a->key.len - (int)b->key.len;
}

// A stable sort; then the first of each name, if that is all the broker keeps.
static void as_broker(enum broker broker, amqp_table_t *table)
{
	amqp_table_entry_t *at = table->entries;
	int kept = 0;

	if (broker == BROKER_AS_SENT)
		return;
	for (int i = 1; i < table->num_entries; ++i)
		for (int j = i; j > 0 && compare_names(&at[j], &at[j - 1]) < 0; --j) {
			amqp_table_entry_t swap = at[j];

			at[j] = at[j - 1];
			at[j - 1] = swap;
		}
	for (int i = 0; i < table->num_entries && broker == BROKER_UNIQUE; ++i)
		if (i == 0 || compare_names(&at[kept - 1], &at[i]) != 0)
			at[kept++] = at[i];
	table->num_entries = broker == BROKER_UNIQUE ? kept : table->num_entries;
}

// Over the wire as rabbitmq-c writes and reads it; then what every broker adds.
static void over_the_wire(enum broker broker, amqp_basic_properties_t *properties,
			  amqp_pool_t *pool, size_t head_bytes)
{
	static uint8_t wire[1 << 17];
	amqp_bytes_t room = {sizeof wire, wire};
	amqp_table_t *table;
	void *decoded;
	int size = amqp_encode_properties(AMQP_BASIC_CLASS, properties, room);

	CHECK(size > 0);
	CHECK_EQ(size + 7 + 12 + 1, head_bytes); // frame, class and size of the body, end
	room.len = (size_t)size;
	CHECK_EQ(amqp_decode_properties(AMQP_BASIC_CLASS, pool, room, &decoded), 0);
	*properties = *(amqp_basic_properties_t *)decoded;
	if (!(properties->_flags & AMQP_BASIC_HEADERS_FLAG))
		return;
	table = &properties->headers;
	amqp_table_entry_t *entries =
		amqp_pool_alloc(pool, ((size_t)table->num_entries + 1) * sizeof *entries);

	memcpy(entries, table->entries, (size_t)table->num_entries * sizeof *entries);
	entries[table->num_entries].key = amqp_cstring_bytes("x-delivery-count");
	entries[table->num_entries].value.kind = AMQP_FIELD_KIND_I64;
	entries[table->num_entries++].value.value.i64 = 3;
	table->entries = entries;
	as_broker(broker, table);
}

struct way {
	bool native;
	uint32_t placed;
	const struct rabbitmq_copy *copy;
	enum broker broker;
};

// The record as it arrives; the caller drops the buffer.
static struct rabbitmq_arriving there_and_back(struct rabbitmq_message_room *room,
					       const uint8_t *record, struct way way)
{
	struct rabbitmq_message message;
	struct rabbitmq_arriving arriving;
	const uint8_t *body;
	size_t half;
	amqp_pool_t pool;
	uint32_t checked;

	CHECK_EQ(rabbitmq_message_make(room, record, way.native, way.placed, ACCEPTED_MS, way.copy,
				       &message),
		 0);
	init_amqp_pool(&pool, 4096);
	over_the_wire(way.broker, &message.properties, &pool, message.head_bytes);
	CHECK_EQ(message.properties.delivery_mode, 2);
	CHECK_EQ(message.properties.timestamp, ACCEPTED_MS / 1000);
	if (way.copy)
		message.routing_key = amqp_cstring_bytes("the-queue");
	CHECK_EQ(rabbitmq_arriving_begin(message.routing_key, &message.properties, message.body.len,
					 PARTITIONS, 1 << 20, &arriving),
		 0);
	body = message.body.len ? message.body.bytes : (const uint8_t *)"";
	half = message.body.len / 2;
	CHECK(rabbitmq_arriving_body(&arriving, body, half));
	CHECK(rabbitmq_arriving_body(&arriving, body + half, message.body.len - half));
	CHECK(!rabbitmq_arriving_body(&arriving, (const uint8_t *)"x", 1));
	empty_amqp_pool(&pool);
	CHECK_EQ(record_check(arriving.buf->data, arriving.buf->size, &checked), RECORD_OK);
	CHECK_EQ(checked, arriving.buf->size);
	return arriving;
}

// ---- round trips

static void any_record_comes_back_as_it_was(void)
{
	struct rabbitmq_message_room *room = rabbitmq_message_room_new();
	struct random random = {1};

	for (unsigned round = 0; round < 20000; ++round) {
		uint8_t record[ROOM];
		uint32_t placed =
			next(&random, 2) ? next(&random, PARTITIONS) : ENVELOPE_NOT_PLACED;
		struct rabbitmq_arriving back;
		struct slice key;

		record_make(&random, record);
		back = there_and_back(room, record,
				      (struct way){.placed = placed, .broker = round % BROKERS});
		CHECK_EQ(back.buf->size, record_size(record));
		CHECK(memcmp(record, back.buf->data, record_size(record)) == 0);
		CHECK(!back.anonymous && !back.is_copy);
		key = record_key(record);
		CHECK_EQ(back.partition, placed != ENVELOPE_NOT_PLACED ? placed
					 : key.data
						 ? partition_of_key(key.data, key.size, PARTITIONS)
						 : 0);
		CHECK_EQ(back.stored_ms, record_flags(record) & RECORD_TTL
						 ? ACCEPTED_MS
						 : ACCEPTED_MS / 1000 * 1000);
		buf_unref(back.buf);
	}
	rabbitmq_message_room_free(room);
}

static void a_copy_comes_back_with_what_it_says(void)
{
	struct rabbitmq_message_room *room = rabbitmq_message_room_new();
	struct random random = {3};

	for (unsigned round = 0; round < 5000; ++round) {
		uint8_t record[ROOM];
		struct rabbitmq_copy copy = {.attempts = next(&random, 100),
					     .partition = next(&random, PARTITIONS),
					     .due_ms = random.state,
					     .stored_ms = (int64_t)next(&random, 1u << 30),
					     .renewal = next(&random, 2)};
		struct rabbitmq_arriving back;

		record_make(&random, record);
		back = there_and_back(room, record,
				      (struct way){.native = next(&random, 2),
						   .placed = ENVELOPE_NOT_PLACED,
						   .copy = &copy,
						   .broker = round % BROKERS});
		CHECK_EQ(back.buf->size, record_size(record));
		CHECK(memcmp(record, back.buf->data, record_size(record)) == 0);
		CHECK(back.is_copy && !back.anonymous);
		CHECK_EQ(back.copy.attempts, copy.attempts);
		CHECK_EQ(back.copy.due_ms, copy.due_ms);
		CHECK_EQ(back.copy.renewal, copy.renewal);
		CHECK_EQ(back.partition, copy.partition);
		CHECK_EQ(back.stored_ms, copy.stored_ms);
		buf_unref(back.buf);
	}
	rabbitmq_message_room_free(room);
}

static bool same(struct slice a, struct slice b)
{
	return a.size == b.size && !a.data == !b.data &&
	       (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

// What asks for nothing but to be delivered has no envelope; everything else has. The id stays.
static void a_native_record_keeps_what_it_asked_for(void)
{
	struct rabbitmq_message_room *room = rabbitmq_message_room_new();
	struct random random = {2};
	unsigned plain = 0;

	for (unsigned round = 0; round < 20000; ++round) {
		uint8_t record[ROOM];
		struct record_view view, back;
		struct rabbitmq_arriving arriving;

		record_make(&random, record);
		record_read(record, &view);
		arriving = there_and_back(room, record,
					  (struct way){.native = true,
						       .placed = ENVELOPE_NOT_PLACED,
						       .broker = round % BROKERS});
		record_read(arriving.buf->data, &back);
		CHECK(!arriving.anonymous);
		CHECK(memcmp(back.id, view.id, RECORD_ID_SIZE) == 0);
		if (view.flags & ENVELOPE_ASKED) {
			CHECK_EQ(back.size, view.size);
			CHECK(memcmp(record, arriving.buf->data, view.size) == 0);
		} else {
			++plain;
			CHECK_EQ(back.created_ms, ACCEPTED_MS / 1000 * 1000);
		}
		CHECK(same(back.key, view.key) && same(back.body, view.body));
		CHECK(same(back.headers, view.headers));
		CHECK_EQ(back.header_count, view.header_count);
		buf_unref(arriving.buf);
	}
	CHECK(plain > 100);
	rabbitmq_message_room_free(room);
}

static void a_plain_message_has_one_small_header(void)
{
	struct rabbitmq_message_room *room = rabbitmq_message_room_new();
	struct rabbitmq_message message;
	uint8_t record[ROOM];

	record_write(&(struct record_parts){.id = (const uint8_t *)"0123456789abcdef",
					    .key = {(const uint8_t *)"k", 1},
					    .body = {(const uint8_t *)"x", 1}},
		     record);
	CHECK_EQ(rabbitmq_message_make(room, record, false, 3, ACCEPTED_MS, NULL, &message), 0);
	CHECK_EQ(message.properties.headers.num_entries, 1);
	CHECK(message.properties.headers.entries[0].value.value.bytes.len <= 32);
	CHECK_EQ(message.routing_key.len, 1);
	CHECK_EQ(message.properties.message_id.len, 32);
	CHECK(memcmp(message.properties.message_id.bytes, "30313233343536373839616263646566", 32) ==
	      0);
	CHECK_EQ(rabbitmq_message_make(room, record, true, 3, ACCEPTED_MS, NULL, &message), 0);
	CHECK(!(message.properties._flags & AMQP_BASIC_HEADERS_FLAG));
	rabbitmq_message_room_free(room);
}

// A broker closes the channel for a CC that is no array: it must not get there.
static void no_header_means_something_to_the_broker(void)
{
	struct rabbitmq_message_room *room = rabbitmq_message_room_new();
	struct rabbitmq_message message;
	uint8_t record[ROOM];
	struct record_header headers[] = {{{(const uint8_t *)"CC", 2}, {(const uint8_t *)"q", 1}},
					  {{(const uint8_t *)"h", 1}, {NULL, 0}},
					  {{(const uint8_t *)"BCC", 3}, {NULL, 0}}};

	record_write(&(struct record_parts){.id = (const uint8_t *)"0123456789abcdef",
					    .headers = headers,
					    .header_count = 3,
					    .body = {(const uint8_t *)"x", 1}},
		     record);
	CHECK_EQ(rabbitmq_message_make(room, record, true, 0, ACCEPTED_MS, NULL, &message), 0);
	CHECK_EQ(message.properties.headers.num_entries, 2);
	CHECK(memcmp(message.properties.headers.entries[0].key.bytes, "h", 1) == 0);
	CHECK(memcmp(message.properties.headers.entries[1].key.bytes, "mqp-headers", 11) == 0);
	rabbitmq_message_room_free(room);
}

static void a_key_is_a_routing_key_where_that_can_be(void)
{
	struct rabbitmq_message_room *room = rabbitmq_message_room_new();
	struct rabbitmq_message message;
	uint8_t record[ROOM], key[300];
	static const struct {
		size_t size;
		uint8_t first;
		bool routes;
	} rows[] = {{0, 'k', false},   {1, 'k', true},   {255, 'k', true},
		    {256, 'k', false}, {3, 0xff, false}, {3, 0, false}};

	memset(key, 'k', sizeof key);
	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i) {
		key[0] = rows[i].first;
		record_write(&(struct record_parts){.id = (const uint8_t *)"0123456789abcdef",
						    .key = {key, rows[i].size}},
			     record);
		CHECK_EQ(rabbitmq_message_make(room, record, false, 0, ACCEPTED_MS, NULL, &message),
			 0);
		CHECK_EQ(message.routing_key.len, rows[i].routes ? rows[i].size : 0);
	}
	rabbitmq_message_room_free(room);
}

// ---- native clients

static amqp_table_entry_t entry(const char *name, uint8_t kind)
{
	return (amqp_table_entry_t){.key = amqp_cstring_bytes(name), .value = {.kind = kind}};
}

static amqp_table_entry_t text_entry(const char *name, const char *text)
{
	amqp_table_entry_t made = entry(name, AMQP_FIELD_KIND_UTF8);

	made.value.value.bytes = amqp_cstring_bytes(text);
	return made;
}

static struct rabbitmq_arriving arrive(const char *routing_key,
				       const amqp_basic_properties_t *properties, const char *body)
{
	struct rabbitmq_arriving arriving;
	uint32_t checked;

	CHECK_EQ(rabbitmq_arriving_begin(amqp_cstring_bytes(routing_key), properties, strlen(body),
					 PARTITIONS, 1 << 20, &arriving),
		 0);
	CHECK(rabbitmq_arriving_body(&arriving, (const uint8_t *)body, strlen(body)));
	CHECK_EQ(record_check(arriving.buf->data, arriving.buf->size, &checked), RECORD_OK);
	return arriving;
}

static void expect_header(const struct record_view *view, size_t *cursor, const char *name,
			  const char *value)
{
	struct record_header header;

	CHECK(record_header_next(view, cursor, &header));
	CHECK(same(header.name, (struct slice){(const uint8_t *)name, strlen(name)}));
	CHECK(same(header.value,
		   (struct slice){(const uint8_t *)value, value ? strlen(value) : 0}));
}

static void a_native_message_becomes_a_record(void)
{
	amqp_table_entry_t entries[] = {text_entry("b", "1"),
					entry("v", AMQP_FIELD_KIND_VOID),
					text_entry("", "no name"),
					text_entry("\xff", "no text"),
					entry("x-death", AMQP_FIELD_KIND_ARRAY),
					entry("n", AMQP_FIELD_KIND_I32)};
	amqp_basic_properties_t properties = {
		._flags = AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_CONTENT_TYPE_FLAG |
			  AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG |
			  AMQP_BASIC_PRIORITY_FLAG,
		.headers = {ARRAY_SIZE(entries), entries},
		.content_type = amqp_cstring_bytes("text/plain"),
		.message_id = amqp_cstring_bytes("00112233445566778899aabbccddeeff"),
		.timestamp = 1700000000,
		.priority = 200};
	struct rabbitmq_arriving first, second;
	struct record_view view, again;
	size_t cursor = 0;

	entries[5].value.value.i32 = -7;
	first = arrive("key", &properties, "body");
	second = arrive("key", &properties, "body");
	record_read(first.buf->data, &view);
	record_read(second.buf->data, &again);
	CHECK(first.anonymous && !first.is_copy);
	CHECK(memcmp(view.id, again.id, RECORD_ID_SIZE) != 0);
	CHECK_EQ(first.partition, partition_of_key("key", 3, PARTITIONS));
	CHECK_EQ(first.stored_ms, 1700000000000);
	CHECK_EQ(view.created_ms, 1700000000000);
	CHECK_EQ(view.priority, 9);
	CHECK(same(view.key, (struct slice){(const uint8_t *)"key", 3}));
	CHECK(same(view.body, (struct slice){(const uint8_t *)"body", 4}));
	CHECK_EQ(view.header_count, 5);
	expect_header(&view, &cursor, "b", "1");
	expect_header(&view, &cursor, "v", NULL);
	expect_header(&view, &cursor, "n", "-7");
	expect_header(&view, &cursor, "content-type", "text/plain");
	expect_header(&view, &cursor, "message-id", "00112233445566778899aabbccddeeff");
	buf_unref(first.buf);
	buf_unref(second.buf);
}

static void a_bare_native_message_has_a_time(void)
{
	int64_t before_ms = clock_wall_ms();
	struct rabbitmq_arriving bare = arrive("", &(amqp_basic_properties_t){0}, "");
	amqp_basic_properties_t far = {._flags = AMQP_BASIC_TIMESTAMP_FLAG,
				       .timestamp = UINT64_MAX};
	struct record_view view;

	record_read(bare.buf->data, &view);
	CHECK(bare.stored_ms >= before_ms && view.created_ms >= before_ms);
	CHECK(!view.key.data && view.body.data && view.body.size == 0);
	CHECK_EQ(bare.partition, 0);
	buf_unref(bare.buf);
	bare = arrive("", &far, "");
	CHECK(bare.stored_ms >= before_ms && bare.stored_ms < before_ms + 60000);
	buf_unref(bare.buf);
}

// Headers that are named as ours and are not stay headers.
static void a_foreign_header_of_our_name_is_an_ordinary_one(void)
{
	amqp_table_entry_t entries[] = {text_entry("mqp", "gzip"),
					text_entry("mqp-copy", "12345678901234567890123456"),
					text_entry("mqp-headers", "\6"), text_entry("mqp-body", ""),
					entry("mqp-key", AMQP_FIELD_KIND_BOOLEAN)};
	amqp_basic_properties_t properties = {._flags = AMQP_BASIC_HEADERS_FLAG,
					      .headers = {ARRAY_SIZE(entries), entries}};
	struct rabbitmq_arriving arriving = arrive("k", &properties, "");
	struct record_view view;
	size_t cursor = 0;

	record_read(arriving.buf->data, &view);
	CHECK(arriving.anonymous && !arriving.is_copy);
	CHECK(same(view.key, (struct slice){(const uint8_t *)"k", 1}) && view.body.data);
	expect_header(&view, &cursor, "mqp", "gzip");
	expect_header(&view, &cursor, "mqp-copy", "12345678901234567890123456");
	expect_header(&view, &cursor, "mqp-headers", "\6");
	expect_header(&view, &cursor, "mqp-body", "");
	expect_header(&view, &cursor, "mqp-key", "false");
	CHECK(!record_header_next(&view, &cursor, &(struct record_header){0}));
	buf_unref(arriving.buf);
}

// A copy without an envelope is a native client's header.
static void a_copy_has_an_envelope(void)
{
	uint8_t value[RABBITMQ_COPY_SIZE];
	amqp_table_entry_t copy = entry("mqp-copy", AMQP_FIELD_KIND_BYTES);
	amqp_basic_properties_t properties = {._flags = AMQP_BASIC_HEADERS_FLAG,
					      .headers = {1, &copy}};
	struct rabbitmq_arriving arriving;
	struct record_view view;

	rabbitmq_copy_write(&(struct rabbitmq_copy){.attempts = 7}, value);
	copy.value.value.bytes = (amqp_bytes_t){sizeof value, value};
	arriving = arrive("k", &properties, "");
	record_read(arriving.buf->data, &view);
	CHECK(!arriving.is_copy && arriving.anonymous);
	CHECK_EQ(view.header_count, 1);
	CHECK_EQ(view.key.size, 1);
	buf_unref(arriving.buf);
	CHECK(rabbitmq_copy_read(value, sizeof value, &arriving.copy));
	value[0] = 2;
	CHECK(!rabbitmq_copy_read(value, sizeof value, &arriving.copy));
	value[0] = 1;
	value[1] = 2;
	CHECK(!rabbitmq_copy_read(value, sizeof value, &arriving.copy));
	CHECK(!rabbitmq_copy_read(value, sizeof value - 1, &arriving.copy));
}

static void what_is_too_large_is_refused(void)
{
	struct rabbitmq_arriving arriving;
	amqp_basic_properties_t properties = {0};

	CHECK_EQ(rabbitmq_arriving_begin(amqp_empty_bytes, &properties, 61, 1, 100, &arriving),
		 -EMSGSIZE);
	CHECK_EQ(rabbitmq_arriving_begin(amqp_empty_bytes, &properties, UINT64_MAX, 1, UINT32_MAX,
					 &arriving),
		 -EMSGSIZE);
	CHECK_EQ(rabbitmq_arriving_begin(amqp_empty_bytes, &properties, 60, 1, 100, &arriving), 0);
	buf_unref(arriving.buf);
}

// ---- typed values

static void expect_text(const amqp_field_value_t *value, const char *text)
{
	char room[512] = {0};
	size_t size = rabbitmq_field_text(value, NULL, 0);

	CHECK_EQ(size, strlen(text));
	CHECK_EQ(rabbitmq_field_text(value, (uint8_t *)room, size), size);
	CHECK_STR(room, text);
	memset(room, 0, sizeof room);
	rabbitmq_field_text(value, (uint8_t *)room, size / 2); // no further than its room
	CHECK_EQ(strlen(room), MIN(size / 2, strlen(text)));
}

#define VALUE(of_kind, member, number)                                                             \
	&(amqp_field_value_t)                                                                      \
	{                                                                                          \
		.kind = AMQP_FIELD_KIND_##of_kind, .value = {.member = number }                    \
	}

static void scalars_become_text(void)
{
	expect_text(VALUE(BOOLEAN, boolean, 1), "true");
	expect_text(VALUE(I8, i8, -128), "-128");
	expect_text(VALUE(U8, u8, 255), "255");
	expect_text(VALUE(I16, i16, -1), "-1");
	expect_text(VALUE(U16, u16, 65535), "65535");
	expect_text(VALUE(I32, i32, INT32_MIN), "-2147483648");
	expect_text(VALUE(U32, u32, UINT32_MAX), "4294967295");
	expect_text(VALUE(I64, i64, INT64_MIN), "-9223372036854775808");
	expect_text(VALUE(U64, u64, UINT64_MAX), "18446744073709551615");
	expect_text(VALUE(TIMESTAMP, u64, 1700000000), "1700000000");
	expect_text(VALUE(F32, f32, 0.1f), "0.1");
	expect_text(VALUE(F64, f64, 0.1), "0.1");
	expect_text(VALUE(F64, f64, 1.0 / 3), "0.33333333333333331");
	expect_text(
		&(amqp_field_value_t){.kind = AMQP_FIELD_KIND_DECIMAL, .value.decimal = {2, 1234}},
		"12.34");
	expect_text(
		&(amqp_field_value_t){.kind = AMQP_FIELD_KIND_DECIMAL, .value.decimal = {4, 12}},
		"0.0012");
	expect_text(
		&(amqp_field_value_t){.kind = AMQP_FIELD_KIND_DECIMAL, .value.decimal = {0, 12}},
		"12");
	expect_text(&(amqp_field_value_t){.kind = AMQP_FIELD_KIND_VOID}, "");
}

static void what_is_nested_becomes_json(void)
{
	amqp_field_value_t items[] = {
		{.kind = AMQP_FIELD_KIND_I32, .value.i32 = 1},
		{.kind = AMQP_FIELD_KIND_VOID},
		{.kind = AMQP_FIELD_KIND_F64, .value.f64 = 1e308 * 10},
		{.kind = AMQP_FIELD_KIND_BYTES, .value.bytes = {5, (void *)"\"\\\xff\1\0"}}};
	amqp_field_value_t array = {.kind = AMQP_FIELD_KIND_ARRAY, .value.array = {4, items}};
	amqp_table_entry_t entries[] = {text_entry("k\"", "Größe"),
					{.key = amqp_cstring_bytes("list"), .value = array}};
	amqp_field_value_t nested[40];

	expect_text(&array, "[1,null,null,\"\\\"\\\\\\u00ff\\u0001\\u0000\"]");
	expect_text(
		&(amqp_field_value_t){.kind = AMQP_FIELD_KIND_TABLE, .value.table = {2, entries}},
		"{\"k\\\"\":\"Größe\",\"list\":[1,null,null,\"\\\"\\\\\\u00ff\\u0001\\u0000\"]}");
	for (unsigned i = 0; i < ARRAY_SIZE(nested); ++i)
		nested[i] = (amqp_field_value_t){
			.kind = AMQP_FIELD_KIND_ARRAY,
			.value.array = {i + 1 < ARRAY_SIZE(nested), &nested[i + 1]}};
	expect_text(&nested[0], "[[[[[[[[[[[[[[[[null]]]]]]]]]]]]]]]]");
}

UNIT_MAIN(UNIT_CASE(any_record_comes_back_as_it_was),
	  UNIT_CASE(a_copy_comes_back_with_what_it_says),
	  UNIT_CASE(a_native_record_keeps_what_it_asked_for),
	  UNIT_CASE(a_plain_message_has_one_small_header),
	  UNIT_CASE(no_header_means_something_to_the_broker),
	  UNIT_CASE(a_key_is_a_routing_key_where_that_can_be),
	  UNIT_CASE(a_native_message_becomes_a_record), UNIT_CASE(a_bare_native_message_has_a_time),
	  UNIT_CASE(a_foreign_header_of_our_name_is_an_ordinary_one),
	  UNIT_CASE(a_copy_has_an_envelope), UNIT_CASE(what_is_too_large_is_refused),
	  UNIT_CASE(scalars_become_text), UNIT_CASE(what_is_nested_becomes_json))
