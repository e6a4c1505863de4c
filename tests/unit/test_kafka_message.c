// adapters/kafka/message: records as Kafka messages and back, and what strangers write.

#include "adapters/kafka/topic/message.h"
#include "tests/unit/unit.h"

#define ROOM 4096

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
	default: return (struct slice){noise + next(random, 64), 1 + next(random, 60)};
	}
}

// A record of any shape.
static void record_make(struct random *random, uint8_t *room)
{
	static const char *const names[] = {"a", "trace-id", "mqp", "Größe", "a"};
	uint8_t noise[128], id[RECORD_ID_SIZE], trace[RECORD_TRACE_SIZE];
	struct record_header headers[4];
	struct record_parts parts = {.id = id,
				     .created_ms = (int64_t)next(random, 1u << 30) - 1000,
				     .due_ms = (int64_t)random->state,
				     .ttl_ms = next(random, UINT32_MAX),
				     .priority = (uint8_t)next(random, 10),
				     .partition = next(random, 9),
				     .headers = headers,
				     .header_count = (uint16_t)next(random, 5)};

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
		const char *name = names[next(random, ARRAY_SIZE(names))];

		headers[i].name = (struct slice){(const uint8_t *)name, strlen(name)};
		headers[i].value = any_slice(random, noise);
	}
	assert(record_parts_size(&parts) <= ROOM);
	record_write(&parts, room);
}

static struct message_in message_of(const struct record_view *view, rd_kafka_headers_t *headers)
{
	return (struct message_in){.physical = "orders",
				   .partition = 2,
				   .offset = 77,
				   .timestamp_ms = 1700000000000,
				   .key = view->key,
				   .body = view->body,
				   .headers = headers};
}

static void read_back(const struct message_in *message, uint8_t *room, struct record_view *ret)
{
	struct message_plan plan;
	uint32_t checked;

	CHECK(message_measure(message, &plan) && plan.size <= ROOM);
	message_record_write(message, &plan, room);
	CHECK_EQ(record_check(room, plan.size, &checked), RECORD_OK);
	CHECK_EQ(checked, plan.size);
	record_read(room, ret);
}

static bool same(struct slice a, struct slice b)
{
	return a.size == b.size && !a.data == !b.data &&
	       (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void any_record_comes_back_as_it_was(void)
{
	struct random random = {1};

	for (unsigned round = 0; round < 20000; ++round) {
		uint8_t record[ROOM], again[ROOM];
		struct record_view view, back;
		struct message_in message;
		rd_kafka_headers_t *headers;

		record_make(&random, record);
		record_read(record, &view);
		CHECK(message_has_headers(record, false));
		headers = message_headers(&view, false, 1600000000000);
		message = message_of(&view, headers);
		read_back(&message, again, &back);
		CHECK_EQ(back.size, view.size);
		CHECK(memcmp(record, again, view.size) == 0);
		rd_kafka_headers_destroy(headers);
	}
}

// What asks for nothing but to be delivered has no envelope; everything else has.
static void a_native_record_keeps_what_it_asked_for(void)
{
	struct random random = {2};
	unsigned plain = 0;

	for (unsigned round = 0; round < 20000; ++round) {
		uint8_t record[ROOM], again[ROOM];
		struct record_view view, back;
		struct message_in message;
		rd_kafka_headers_t *headers = NULL;
		bool asks;

		record_make(&random, record);
		record_read(record, &view);
		asks = view.flags &
		       (RECORD_DUE | RECORD_TTL | RECORD_PRIORITY | RECORD_TAG | RECORD_TRACE);
		CHECK_EQ(message_has_headers(record, true), asks || view.header_count);
		if (message_has_headers(record, true))
			headers = message_headers(&view, true, 1600000000000);
		message = message_of(&view, headers);
		read_back(&message, again, &back);
		if (asks) {
			CHECK_EQ(back.size, view.size);
			CHECK(memcmp(record, again, view.size) == 0);
		} else {
			++plain;
			CHECK(same(back.key, view.key) && same(back.body, view.body));
			CHECK(same(back.headers, view.headers));
			CHECK_EQ(back.header_count, view.header_count);
			CHECK_EQ(back.created_ms, message.timestamp_ms);
		}
		if (headers)
			rd_kafka_headers_destroy(headers);
	}
	CHECK(plain > 100);
}

static void a_plain_envelope_is_small(void)
{
	uint8_t record[ROOM];
	struct record_view view;
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t size;

	record_write(&(struct record_parts){.id = (const uint8_t *)"0123456789abcdef",
					    .body = {(const uint8_t *)"x", 1}},
		     record);
	record_read(record, &view);
	headers = message_headers(&view, false, 1600000000000);
	CHECK_EQ(rd_kafka_header_cnt(headers), 1);
	CHECK(!rd_kafka_header_get_all(headers, 0, &name, &value, &size));
	CHECK_STR(name, ENVELOPE_HEADER);
	CHECK(size <= 32);
	rd_kafka_headers_destroy(headers);
}

// What counts as the time of storing: the broker's own, else the proxy's, else the producer's.
static void a_time_to_live_has_a_beginning(void)
{
	uint8_t record[ROOM];
	struct record_view view;
	struct message_plan plan;
	struct message_in message;

	for (unsigned ttl = 0; ttl < 2; ++ttl) {
		record_write(&(struct record_parts){.id = (const uint8_t *)"0123456789abcdef",
						    .flags = ttl ? RECORD_TTL : 0,
						    .ttl_ms = 60000,
						    .created_ms = 5},
			     record);
		record_read(record, &view);
		message = message_of(&view, message_headers(&view, false, 1600000000000));
		CHECK(message_measure(&message, &plan));
		CHECK_EQ(plan.stored_ms, ttl ? 1600000000000 : 1700000000000);
		message.appended = true;
		CHECK(message_measure(&message, &plan));
		CHECK_EQ(plan.stored_ms, 1700000000000);
		rd_kafka_headers_destroy(message.headers);
	}
}

static void a_native_message_has_an_id_of_its_place(void)
{
	uint8_t first[ROOM], second[ROOM];
	struct message_in message = {
		.physical = "orders", .partition = 2, .offset = 77, .timestamp_ms = 0x123456789abc};
	struct record_view a, b;

	read_back(&message, first, &a);
	read_back(&message, second, &b);
	CHECK(memcmp(a.id, b.id, RECORD_ID_SIZE) == 0);
	CHECK(memcmp(a.id, "\x12\x34\x56\x78\x9a\xbc", 6) == 0);
	CHECK_EQ(a.created_ms, 0x123456789abc);
	CHECK(!a.key.data && !a.body.data && !(a.flags & RECORD_HEADERS));
	for (unsigned i = 0; i < 3; ++i) {
		struct message_in other = message;

		other.offset += i == 0;
		other.partition += i == 1;
		other.physical = i == 2 ? "order" : other.physical;
		read_back(&other, second, &b);
		CHECK(memcmp(a.id, b.id, RECORD_ID_SIZE) != 0);
	}
	message.timestamp_ms = -1;
	read_back(&message, second, &b);
	CHECK_EQ(b.created_ms, 0);
}

// Gives a message a header `mqp` of these bytes and expects it to stay a header.
static void expect_ordinary(const void *value, size_t size)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new(2);
	struct message_in message = {.physical = "orders", .timestamp_ms = 5, .headers = headers};
	uint8_t room[ROOM];
	struct record_view view;
	struct record_header header;
	size_t cursor = 0;

	rd_kafka_header_add(headers, ENVELOPE_HEADER, -1, value, (ssize_t)size);
	read_back(&message, room, &view);
	CHECK_EQ(view.header_count, 1);
	CHECK(record_header_next(&view, &cursor, &header));
	CHECK(same(header.name, (struct slice){(const uint8_t *)"mqp", 3}));
	CHECK(same(header.value, (struct slice){value, size}));
	CHECK_EQ(view.created_ms, 5);
	rd_kafka_headers_destroy(headers);
}

static void a_foreign_envelope_is_an_ordinary_header(void)
{
	uint8_t right[26 + 5] = {1, 0};

	memset(right + 2, 7, 16);
	expect_ordinary(NULL, 0);
	expect_ordinary("", 0);
	expect_ordinary("gzip", 4);
	expect_ordinary(right, 25); // cut
	expect_ordinary(right, 27); // longer than it says
	right[0] = 2;
	expect_ordinary(right, 26); // another version
	right[0] = 1;
	right[1] = 0x80;
	expect_ordinary(right, 26); // a part of other backends, cut
	expect_ordinary(right, 30); // a chosen partition
	right[1] = RECORD_PRIORITY >> 2;
	right[26] = 10;
	expect_ordinary(right, 27); // a value out of range
	right[1] = RECORD_TAG >> 2;
	right[26] = 0;
	expect_ordinary(right, 27); // an empty tag
	right[1] = 0x40;
	expect_ordinary(right, 31); // accepted, without a time to live
	right[1] = 0x40 | RECORD_TTL >> 2;
	expect_ordinary(right, 31); // and no time
	memset(right, 0, sizeof right);
	right[0] = 1;
	expect_ordinary(right, 26); // no id
}

static void what_a_record_cannot_hold_is_left_out(void)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
	struct message_in message = {.physical = "orders", .headers = headers};
	char *long_name = malloc(UINT16_MAX + 2);
	uint8_t room[ROOM];
	struct message_plan plan;
	struct record_view view;

	memset(long_name, 'x', UINT16_MAX + 1);
	long_name[UINT16_MAX + 1] = '\0';
	rd_kafka_header_add(headers, "", -1, "1", 1);
	rd_kafka_header_add(headers, "\xff\xfe", -1, "2", 1);
	rd_kafka_header_add(headers, long_name, -1, "3", 1);
	rd_kafka_header_add(headers, "kept", -1, NULL, 0);
	read_back(&message, room, &view);
	CHECK_EQ(view.header_count, 1);
	free(long_name);
	for (unsigned i = 0; i < RECORD_HEADERS_MAX; ++i)
		rd_kafka_header_add(headers, "n", -1, NULL, 0);
	CHECK(message_measure(&message, &plan));
	CHECK_EQ(plan.size, 40 + 6 + 10 + (RECORD_HEADERS_MAX - 1) * 7);
	message.body = (struct slice){room, UINT32_MAX - 100};
	CHECK(!message_measure(&message, &plan));
	rd_kafka_headers_destroy(headers);
}

UNIT_MAIN(UNIT_CASE(any_record_comes_back_as_it_was),
	  UNIT_CASE(a_native_record_keeps_what_it_asked_for), UNIT_CASE(a_plain_envelope_is_small),
	  UNIT_CASE(a_time_to_live_has_a_beginning),
	  UNIT_CASE(a_native_message_has_an_id_of_its_place),
	  UNIT_CASE(a_foreign_envelope_is_an_ordinary_header),
	  UNIT_CASE(what_a_record_cannot_hold_is_left_out))
