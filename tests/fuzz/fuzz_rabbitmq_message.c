// adapters/rabbitmq/message, both directions. What is a right record becomes a message and comes
// back as it was; any other bytes are the properties of another client's message, as they lie in a
// frame, which must become a right record.
//
// Another client's message: a byte of the routing key's size, that, a byte of the body's, that, and
// the properties.

#include "adapters/rabbitmq/message/arriving.h"
#include "adapters/rabbitmq/message/message.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>

static struct rabbitmq_arriving arrive(const amqp_basic_properties_t *properties,
				       amqp_bytes_t routing_key, amqp_bytes_t body)
{
	struct rabbitmq_arriving arriving;
	uint32_t checked;

	assert(rabbitmq_arriving_begin(routing_key, properties, body.len, 5, UINT32_MAX,
				       &arriving) == 0);
	assert(rabbitmq_arriving_body(&arriving, body.bytes, body.len));
	assert(record_check(arriving.buf->data, arriving.buf->size, &checked) == RECORD_OK);
	assert(checked == arriving.buf->size && arriving.partition < 5);
	return arriving;
}

static void there_and_back(const uint8_t *data)
{
	struct rabbitmq_message_room *room = rabbitmq_message_room_new();
	struct rabbitmq_message message;
	struct rabbitmq_arriving back;
	struct record_view view;

	record_read(data, &view);
	assert(rabbitmq_message_make(room, data, false, 3, 7, NULL, &message) == 0);
	back = arrive(&message.properties, message.routing_key, message.body);
	assert(!back.anonymous && !back.is_copy && back.partition == 3);
	if (view.header_count || !(view.flags & RECORD_HEADERS))
		assert(back.buf->size == view.size && memcmp(back.buf->data, data, view.size) == 0);
	buf_unref(back.buf);
	rabbitmq_message_room_free(room);
}

static amqp_bytes_t take(const uint8_t **at, const uint8_t *end)
{
	size_t size = *at < end ? *(*at)++ : 0;
	amqp_bytes_t bytes = {MIN(size, (size_t)(end - *at)), (void *)*at};

	*at += bytes.len;
	return bytes;
}

static void of_another_client(const uint8_t *at, const uint8_t *end)
{
	amqp_bytes_t routing_key = take(&at, end), body = take(&at, end);
	amqp_pool_t pool;
	void *decoded;

	init_amqp_pool(&pool, 4096);
	if (amqp_decode_properties(AMQP_BASIC_CLASS, &pool,
				   (amqp_bytes_t){(size_t)(end - at), (void *)at}, &decoded) == 0)
		buf_unref(arrive(decoded, routing_key, body).buf);
	empty_amqp_pool(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t record;

	if (record_check(data, size, &record) == RECORD_OK)
		there_and_back(data);
	else
		of_another_client(data, data + size);
	return 0;
}
