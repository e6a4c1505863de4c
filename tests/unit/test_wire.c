// core/wire: headers, fields, records, batches, deliveries and settles, there and back, and what is
// refused.

#include "core/wire/codec.h"
#include "core/wire/deliver.h"
#include "core/wire/fields.h"
#include "core/wire/partition.h"
#include "core/wire/produce.h"
#include "core/wire/produced.h"
#include "core/wire/record.h"
#include "core/wire/settle.h"
#include "tests/unit/unit.h"

static void header_round_trip(void)
{
	uint8_t bytes[WIRE_HEADER_SIZE + 5];
	struct frame_header header;

	memcpy(bytes + WIRE_HEADER_SIZE, "hello", 5);
	frame_seal(bytes, FRAME_PRODUCE, CODEC_LZ4 | FRAME_ONEWAY, 7, 5);
	CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 5, &header) == NULL);
	CHECK_EQ(header.size, 5);
	CHECK_EQ(header.stream, 7);
	CHECK(frame_crc_ok(&header, bytes + WIRE_HEADER_SIZE));
	bytes[WIRE_HEADER_SIZE] ^= 1;
	CHECK(!frame_crc_ok(&header, bytes + WIRE_HEADER_SIZE));
}

static void header_refusals(void)
{
	uint8_t bytes[WIRE_HEADER_SIZE];
	struct frame_header header;

	frame_seal(bytes, FRAME_PING, 0, 0, 0);
	CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 100, &header) == NULL);
	le32_put(bytes, 101);
	CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 100, &header) != NULL);
	frame_seal(bytes, FRAME_WELCOME, 0, 0, 0);
	CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 100, &header) != NULL);
	CHECK(frame_decode(bytes, WIRE_BY_SERVER, 100, &header) == NULL);
	frame_seal(bytes, 0x77, 0, 0, 0);
	CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 100, &header) != NULL);
	frame_seal(bytes, FRAME_PING, 0, 1, 0);
	CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 100, &header) != NULL);
	frame_seal(bytes, FRAME_PRODUCE, 3, 1, 0);
	CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 100, &header) != NULL);
	frame_seal(bytes, FRAME_SETTLE, FRAME_ONEWAY, 1, 0);
	CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 100, &header) != NULL);
	frame_seal(bytes, FRAME_PING, 0, 0, 0);
	bytes[6] = 1;
	CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 100, &header) != NULL);
}

static void streams_of_types(void)
{
	static const uint8_t on_a_stream[] = {FRAME_OPEN_TOPIC, FRAME_SUBSCRIBE, FRAME_CLOSE,
					      FRAME_PRODUCE,    FRAME_CREDIT,    FRAME_SETTLE};
	uint8_t bytes[WIRE_HEADER_SIZE];
	struct frame_header header;

	for (size_t i = 0; i < ARRAY_SIZE(on_a_stream); ++i) {
		frame_seal(bytes, on_a_stream[i], 0, 0, 0);
		CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 0, &header) != NULL);
		frame_seal(bytes, on_a_stream[i], 0, INT32_MAX, 0);
		CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 0, &header) == NULL);
		frame_seal(bytes, on_a_stream[i], 0, 1u + INT32_MAX, 0);
		CHECK(frame_decode(bytes, WIRE_BY_CLIENT, 0, &header) != NULL);
	}
	for (uint32_t stream = 0; stream < 2; ++stream) {
		frame_seal(bytes, FRAME_ERROR, 0, stream, 0);
		CHECK(frame_decode(bytes, WIRE_BY_SERVER, 0, &header) == NULL);
	}
}

static void fields_round_trip(void)
{
	uint8_t room[256];
	char text[64];
	struct field_writer writer;
	struct fields fields;
	struct slice address;
	size_t cursor = 0;

	field_writer_init(&writer, room, sizeof room);
	field_put_text(&writer, FIELD_TENANT, "Büro");
	field_put_int(&writer, FIELD_WINDOW, 1ull << 40);
	field_put_text(&writer, FIELD_ADDRESS, "a:1");
	field_put_text(&writer, FIELD_ADDRESS, "b:2");
	field_put_text(&writer, FIELD_TEXT, NULL);
	CHECK(!writer.full);
	CHECK(fields_read(room, writer.size, &fields) == NULL);
	CHECK_STR(fields_text(&fields, FIELD_TENANT, text, sizeof text), "Büro");
	CHECK_EQ(fields_int(&fields, FIELD_WINDOW, 0), 1ull << 40);
	CHECK_EQ(fields_int(&fields, FIELD_CODE, 99), 99);
	CHECK(fields_next(&fields, FIELD_ADDRESS, &cursor, &address) && address.data[0] == 'a');
	CHECK(fields_next(&fields, FIELD_ADDRESS, &cursor, &address) && address.data[0] == 'b');
	CHECK(!fields_next(&fields, FIELD_ADDRESS, &cursor, &address));
}

static void fields_refusals(void)
{
	struct fields fields;

	CHECK(fields_read("\x0e\0\2\0x", 5, &fields) != NULL);             // cut off
	CHECK(fields_read("\x0e\0\1\0\xff", 5, &fields) != NULL);          // not UTF-8
	CHECK(fields_read("\x11\0\1\0x", 5, &fields) != NULL);             // width
	CHECK(fields_read("\x0e\0\1\0a\x0e\0\1\0b", 10, &fields) != NULL); // twice
	CHECK(fields_read("\xff\x80\0\0", 4, &fields) != NULL);            // critical
	CHECK_EQ(fields.refused_tag, 0x80ff);
	CHECK(fields_read("\xff\x70\0\0", 4, &fields) == NULL); // unknown
}

static const uint8_t an_id[RECORD_ID_SIZE] = {1, 2, 3};

static void record_round_trip(void)
{
	uint8_t room[512], trace[RECORD_TRACE_SIZE] = {9};
	struct record_header headers[] =
		{
			{{(const uint8_t *)"h", 1}, {(const uint8_t *)"v", 1}},
			{{(const uint8_t *)"h", 1}, {NULL, 0}},
		},
			     header;
	struct record_parts parts =
				    {
					    .id = an_id,
					    .created_ms = 5,
					    .due_ms = 6,
					    .ttl_ms = 7,
					    .priority = 9,
					    .partition = 3,
					    .flags = RECORD_DUE | RECORD_TTL | RECORD_PRIORITY |
						     RECORD_PARTITION,
					    .trace = trace,
					    .tag = {(const uint8_t *)"tag", 3},
					    .key = {(const uint8_t *)"", 0},
					    .body = {(const uint8_t *)"body", 4},
					    .headers = headers,
					    .header_count = 2,
				    },
			    copy;
	struct record_view view;
	uint64_t size = record_parts_size(&parts);
	uint32_t checked;
	size_t cursor = 0;

	record_write(&parts, room);
	CHECK_EQ(record_check(room, sizeof room, &checked), RECORD_OK);
	CHECK_EQ(checked, size);
	record_read(room, &view);
	CHECK_EQ(view.due_ms, 6);
	CHECK_EQ(view.ttl_ms, 7);
	CHECK_EQ(view.priority, 9);
	CHECK_EQ(view.partition, 3);
	CHECK(view.key.data && view.key.size == 0);
	CHECK(view.body.size == 4 && memcmp(view.body.data, "body", 4) == 0);
	CHECK(record_header_next(&view, &cursor, &header) && header.value.size == 1);
	CHECK(record_header_next(&view, &cursor, &header) && header.value.data == NULL);
	CHECK(!record_header_next(&view, &cursor, &header));
	record_parts_of(&view, &copy);
	CHECK_EQ(record_parts_size(&copy), size);
	for (uint32_t cut = 0; cut < size; ++cut)
		CHECK_EQ(record_check(room, cut, &checked), RECORD_BROKEN);
}

// The least that is a record: none of its slices has a place.
static void record_bare(void)
{
	struct record_parts parts = {.id = an_id}, copy;
	uint8_t room[RECORD_HEAD_SIZE];
	struct record_header header;
	struct record_view view;
	uint32_t checked;
	size_t cursor = 0;

	CHECK_EQ(record_parts_size(&parts), sizeof room);
	record_write(&parts, room);
	CHECK_EQ(record_check(room, sizeof room, &checked), RECORD_OK);
	record_read(room, &view);
	CHECK(!view.key.data && !view.body.data && !view.tag.data && !view.trace);
	CHECK(!record_header_next(&view, &cursor, &header));
	record_parts_of(&view, &copy);
	CHECK_EQ(record_parts_size(&copy), sizeof room);
}

// Whatever single byte changes, the check ends inside the record and says something sane.
static void record_damage(void)
{
	struct record_header header = {{(const uint8_t *)"name", 4}, {(const uint8_t *)"value", 5}};
	struct record_parts parts = {.id = an_id,
				     .tag = {(const uint8_t *)"t", 1},
				     .headers = &header,
				     .header_count = 1};
	uint64_t size = record_parts_size(&parts);
	_cleanup_(freep) uint8_t *room = malloc(size);
	uint32_t checked;

	record_write(&parts, room);
	for (uint64_t at = 0; at < size; ++at) {
		for (unsigned value = 0; value < 256; ++value) {
			uint8_t before = room[at];

			room[at] = (uint8_t)value;
			if (record_check(room, size, &checked) != RECORD_BROKEN)
				CHECK(checked <= size);
			room[at] = before;
		}
	}
	memset(room + 8, 0, RECORD_ID_SIZE);
	CHECK_EQ(record_check(room, size, &checked), RECORD_MALFORMED);
}

// A record may hold only as many headers that a copy with the five of a dead letter can still be
// made.
static void many_headers(void)
{
	enum { ENTRY = 7 };
	struct record_header five[5];
	struct record_view view;
	struct record_parts parts = {.id = an_id};
	_cleanup_(freep) uint8_t *entries = calloc(RECORD_HEADERS_MAX + 1, ENTRY), *room = NULL;
	uint32_t checked;

	for (unsigned i = 0; i < RECORD_HEADERS_MAX + 1; ++i) {
		le16_put(entries + (size_t)i * ENTRY, 1);
		entries[(size_t)i * ENTRY + 2] = 'h';
	}
	room = malloc(2 * (RECORD_HEADERS_MAX + 1) * ENTRY);
	parts.raw_header_count = RECORD_HEADERS_MAX + 1;
	parts.raw_headers = (struct slice){entries, (size_t)parts.raw_header_count * ENTRY};
	record_write(&parts, room);
	CHECK_EQ(record_check(room, record_size(room), &checked), RECORD_MALFORMED);
	parts.raw_header_count = RECORD_HEADERS_MAX;
	parts.raw_headers.size -= ENTRY;
	record_write(&parts, room);
	CHECK_EQ(record_check(room, record_size(room), &checked), RECORD_OK);
	record_read(room, &view);
	CHECK_EQ(view.header_count, RECORD_HEADERS_MAX);
	for (unsigned i = 0; i < 5; ++i)
		five[i] = (struct record_header){{(const uint8_t *)"x", 1}, {NULL, 0}};
	record_parts_of(&view, &parts);
	parts.headers = five;
	parts.header_count = 5;
	_cleanup_(freep) uint8_t *copy = malloc(record_parts_size(&parts));
	record_write(&parts, copy);
	record_read(copy, &view);
	CHECK_EQ(view.header_count, RECORD_HEADERS_MAX + 5);
}

// Ids as a producer makes them: the time in front, a number that counts up behind it.
static void ids_spread(void)
{
	uint8_t id[RECORD_ID_SIZE];

	for (unsigned counting = 0; counting < RECORD_ID_SIZE; ++counting) {
		unsigned slots[256] = {0}, used = 0;

		memset(id, 0x5a, sizeof id);
		for (unsigned i = 0; i < 256; ++i) {
			id[counting] = (uint8_t)i;
			used += slots[record_id_hash(id) & 255]++ == 0;
		}
		CHECK(used > 128); // 162 of 256 where chance places them
	}
}

static void produced_adds_up(void)
{
	uint8_t payload[PRODUCED_HEAD_SIZE + 2 * PRODUCED_RUN_SIZE];
	struct produce_head head = {42, 5}, read;
	struct produced_run run = {.count = 3,
				   .outcome = 1,
				   .code = 10,
				   .retry_after_ms = 20,
				   .partition = 1,
				   .offset = PRODUCED_NO_OFFSET,
				   .incarnation = 8},
			    back;
	size_t runs;

	produce_head_write(payload, &head);
	produced_run_write(payload + PRODUCED_HEAD_SIZE, &run);
	run.count = 2;
	produced_run_write(payload + PRODUCED_HEAD_SIZE + PRODUCED_RUN_SIZE, &run);
	CHECK(produced_check(payload, sizeof payload, &read, &runs) == NULL);
	CHECK_EQ(runs, 2);
	CHECK_EQ(read.batch, 42);
	produced_run_read(payload + PRODUCED_HEAD_SIZE + PRODUCED_RUN_SIZE, &back);
	CHECK(memcmp(&back, &run, sizeof run) == 0);
	CHECK(produced_check(payload, sizeof payload - 1, &read, &runs) != NULL);
	CHECK(produced_check(payload, sizeof payload - PRODUCED_RUN_SIZE, &read, &runs) != NULL);
	run.count = 5;
	produced_run_write(payload + PRODUCED_HEAD_SIZE, &run);
	le32_put(payload + PRODUCED_HEAD_SIZE + PRODUCED_RUN_SIZE, 0); // no writer writes that
	CHECK(produced_check(payload, sizeof payload, &read, &runs) != NULL);
}

static void settle_round_trip(void)
{
	uint8_t payload[SETTLE_HEAD_SIZE + SETTLE_ENTRY_SIZE];
	struct settle_head head = {9, 1}, read;
	struct settle_entry entry = {.epoch = 3,
				     .offset = 100,
				     .partition = 2,
				     .count = 4,
				     .attempt = 1,
				     .ms = 50,
				     .verb = WIRE_NACK},
			    back;

	settle_head_write(payload, &head);
	settle_entry_write(payload + SETTLE_HEAD_SIZE, &entry);
	CHECK(settle_check(payload, sizeof payload, false, &read) == NULL);
	settle_entry_read(payload + SETTLE_HEAD_SIZE, &back);
	CHECK(back.offset == 100 && back.count == 4 && back.verb == WIRE_NACK && back.ms == 50);
	payload[SETTLE_HEAD_SIZE] = WIRE_VERB_COUNT;
	CHECK(settle_check(payload, sizeof payload, false, &read) != NULL);
	payload[SETTLE_HEAD_SIZE] = WIRE_NACK;
	le64_put(payload + SETTLE_HEAD_SIZE + 16, UINT64_MAX); // its offset
	CHECK(settle_check(payload, sizeof payload, false, &read) != NULL);
	CHECK(settle_check(payload, sizeof payload - 1, false, &read) != NULL);
}

static void reserved_is_zero(void)
{
	uint8_t payload[512] = {0};
	struct deliver_entry entry = {.offset = 10, .attempt = 1};
	struct record_parts parts = {.id = an_id};
	struct deliver_head deliver = {.count = 1}, read;
	struct settle_head settled = {9, 1}, back;
	size_t size = DELIVER_HEAD_SIZE + DELIVER_ENTRY_SIZE + RECORD_HEAD_SIZE;

	deliver_head_write(payload, &deliver);
	deliver_entry_write(payload + DELIVER_HEAD_SIZE, &entry);
	record_write(&parts, payload + DELIVER_HEAD_SIZE + DELIVER_ENTRY_SIZE);
	CHECK(deliver_check(payload, size, false, &read) == NULL);
	payload[DELIVER_HEAD_SIZE + 20] = 1;
	CHECK(deliver_check(payload, size, false, &read) != NULL);
	payload[DELIVER_HEAD_SIZE + 20] = 0;
	le32_put(payload + DELIVER_HEAD_SIZE + 16, 0); // the first attempt is 1
	CHECK(deliver_check(payload, size, false, &read) != NULL);
	deliver_head_write(payload, &deliver);
	le32_put(payload + 4, 0);
	CHECK(deliver_check(payload, DELIVER_HEAD_SIZE, false, &read) != NULL);

	settle_head_write(payload, &settled);
	settle_outcome_write(payload + SETTLED_HEAD_SIZE, &(struct settle_outcome){4, CODE_OK});
	CHECK(settle_outcome_check(payload, SETTLED_HEAD_SIZE + SETTLED_ENTRY_SIZE, &back) == NULL);
	payload[SETTLED_HEAD_SIZE + 2] = 1;
	CHECK(settle_outcome_check(payload, SETTLED_HEAD_SIZE + SETTLED_ENTRY_SIZE, &back) != NULL);
}

static void deliver_round_trip(void)
{
	uint8_t payload[512];
	struct deliver_head head = {1, 2, 3}, read;
	struct deliver_entry entry = {.offset = 10, .stored_ms = 11, .attempt = 2}, back;
	struct record_parts parts = {.id = an_id, .body = {(const uint8_t *)"x", 1}};
	size_t at = DELIVER_HEAD_SIZE, cursor = 0;

	deliver_head_write(payload, &head);
	for (unsigned i = 0; i < 2; ++i) {
		deliver_entry_write(payload + at, &entry);
		record_write(&parts, payload + at + DELIVER_ENTRY_SIZE);
		at += DELIVER_ENTRY_SIZE + record_size(payload + at + DELIVER_ENTRY_SIZE);
	}
	CHECK(deliver_check(payload, at, false, &read) == NULL);
	CHECK(deliver_next(payload, at, &cursor, &back) && back.offset == 10 && back.attempt == 2);
	CHECK(deliver_next(payload, at, &cursor, &back) &&
	      !deliver_next(payload, at, &cursor, &back));
	CHECK(deliver_check(payload, at - 1, false, &read) != NULL);
	CHECK(deliver_check(payload, at + 1, false, &read) != NULL);
}

static void codecs(void)
{
	uint8_t plain[5000], twice[2 * sizeof plain];
	struct slice text = {plain, sizeof plain};

	for (unsigned i = 0; i < sizeof plain; ++i)
		plain[i] = (uint8_t)(i % 50);
	for (unsigned codec = CODEC_LZ4; codec <= CODEC_ZSTD; ++codec) {
		struct buf *packed, *back;

		CHECK_EQ(codec_compress(codec, text, &packed), 0);
		CHECK_EQ(codec_decompress(codec, (struct slice){packed->data, packed->size}, 5000,
					  &back),
			 0);
		CHECK(back->size == sizeof plain && memcmp(back->data, plain, sizeof plain) == 0);
		buf_unref(back);
		CHECK_EQ(codec_decompress(codec, (struct slice){packed->data, packed->size}, 4999,
					  &back),
			 CODEC_E_TOO_LARGE);
		CHECK_EQ(codec_decompress(codec, (struct slice){packed->data, packed->size - 1},
					  5000, &back),
			 CODEC_E_CORRUPT);
		// One block or frame and nothing behind it, be it valid by itself.
		memcpy(twice, packed->data, packed->size);
		memcpy(twice + packed->size, packed->data + 4, packed->size - 4);
		le32_put(twice, 2 * sizeof plain);
		CHECK_EQ(codec_decompress(codec, (struct slice){twice, 2 * packed->size - 4}, 10000,
					  &back),
			 CODEC_E_CORRUPT);
		buf_unref(packed);
	}
}

// From Kafka's own UtilsTest.testMurmur2.
static void kafka_partitions(void)
{
	CHECK_EQ((int32_t)partition_hash("21", 2), -973932308);
	CHECK_EQ((int32_t)partition_hash("foobar", 6), -790332482);
	CHECK_EQ((int32_t)partition_hash("a-little-bit-long-string", 24), -985981536);
	CHECK_EQ((int32_t)partition_hash("a-little-bit-longer-string", 26), -1486304829);
	CHECK_EQ((int32_t)partition_hash("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", 48),
		 -58897971);
	CHECK_EQ((int32_t)partition_hash("abc", 3), 479470107);
}

UNIT_MAIN(UNIT_CASE(header_round_trip), UNIT_CASE(header_refusals), UNIT_CASE(streams_of_types),
	  UNIT_CASE(fields_round_trip), UNIT_CASE(fields_refusals), UNIT_CASE(record_round_trip),
	  UNIT_CASE(record_bare), UNIT_CASE(record_damage), UNIT_CASE(many_headers),
	  UNIT_CASE(ids_spread), UNIT_CASE(reserved_is_zero), UNIT_CASE(produced_adds_up),
	  UNIT_CASE(settle_round_trip), UNIT_CASE(deliver_round_trip), UNIT_CASE(codecs),
	  UNIT_CASE(kafka_partitions))
