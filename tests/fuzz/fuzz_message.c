// adapters/kafka/message, both directions. What is a right record becomes a message and comes back
// as it was; any other bytes are taken apart as the headers, key and body of a stranger's message,
// which must become a right record.
//
// A stranger's message: a byte of headers, each a byte of its name's size (0: `mqp`), the name, a
// byte of its value's size (255: absent), the value; what is left is key and body.

#include "adapters/kafka/topic/message.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>

static uint8_t *record_of(const struct message_in *message, uint32_t *ret_size)
{
	struct message_plan plan;
	uint32_t checked;
	uint8_t *record;

	assert(message_measure(message, &plan));
	record = malloc(plan.size);
	assert(record);
	message_record_write(message, &plan, record);
	assert(record_check(record, plan.size, &checked) == RECORD_OK && checked == plan.size);
	*ret_size = checked;
	return record;
}

static void there_and_back(const uint8_t *data)
{
	struct record_view view;
	struct message_in message = {.physical = "t", .timestamp_ms = -1};
	uint8_t *back;
	uint32_t size;

	record_read(data, &view);
	message.headers = message_headers(&view, false, 7);
	message.key = view.key;
	message.body = view.body;
	back = record_of(&message, &size);
	if (view.header_count || !(view.flags & RECORD_HEADERS))
		assert(size == view.size && memcmp(back, data, size) == 0);
	free(back);
	rd_kafka_headers_destroy(message.headers);
}

static struct slice take(const uint8_t **at, const uint8_t *end, size_t size)
{
	struct slice slice = {*at, MIN(size, (size_t)(end - *at))};

	*at += slice.size;
	return slice;
}

static uint8_t byte(const uint8_t **at, const uint8_t *end)
{
	return *at < end ? *(*at)++ : 0;
}

static void of_a_stranger(const uint8_t *at, const uint8_t *end)
{
	unsigned headers = byte(&at, end);
	struct message_in message = {.physical = "t", .headers = rd_kafka_headers_new(headers)};
	uint32_t size;

	message.partition = headers;
	message.timestamp_ms = (int64_t)headers - 1;
	for (; headers > 0; --headers) {
		struct slice name = take(&at, end, byte(&at, end)), value;
		uint8_t value_size = byte(&at, end);

		value = take(&at, end, value_size == 255 ? 0 : value_size);
		rd_kafka_header_add(message.headers,
				    name.size ? (const char *)name.data : ENVELOPE_HEADER,
				    name.size ? (ssize_t)name.size : -1,
				    value_size == 255 ? NULL : value.data, (ssize_t)value.size);
	}
	message.key = take(&at, end, byte(&at, end));
	message.body = take(&at, end, (size_t)(end - at));
	free(record_of(&message, &size));
	rd_kafka_headers_destroy(message.headers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t record;

	if (record_check(data, size, &record) == RECORD_OK)
		there_and_back(data);
	else
		of_a_stranger(data, data + size);
	return 0;
}
