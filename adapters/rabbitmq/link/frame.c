// Frames of AMQP 0-9-1.
//
// rabbitmq-c decodes what is inside of a frame, into memory of a pool. It trusts the sender in one
// way: a table in a table is a call in a call, and a frame of 128 KiB has room for 26,000 of them.
// So whatever carries a table is walked first, and refused beyond a depth. What a broker has no
// reason to send (a method of clients, a second word of property flags) is refused before it is
// decoded.
//
// Invariants: a frame that is handed out ends inside of the bytes that were given; nothing is read
// behind it.

#include "adapters/rabbitmq/link/frame.h"

#include "core/base/util.h"

#include <endian.h>

#define HEAD 7u // type, channel, size

static uint16_t get16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof value);
	return be16toh(value);
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof value);
	return be32toh(value);
}

int rabbitmq_frame_next(const uint8_t *data, size_t size, uint32_t most, struct rabbitmq_frame *ret,
			const char **ret_why)
{
	uint32_t payload;

	if (size == 0)
		return 0;
	if (data[0] != AMQP_FRAME_METHOD && data[0] != AMQP_FRAME_HEADER &&
	    data[0] != AMQP_FRAME_BODY && data[0] != AMQP_FRAME_HEARTBEAT) {
		*ret_why = "what it sends is no AMQP 0-9-1";
		return -1;
	}
	if (size < HEAD)
		return 0;
	payload = get32(data + 3);
	if (payload > most - RABBITMQ_FRAME_EXTRA) {
		*ret_why = "it sends a frame that is larger than agreed";
		return -1;
	}
	if (size < payload + RABBITMQ_FRAME_EXTRA)
		return 0;
	if (data[HEAD + payload] != AMQP_FRAME_END) {
		*ret_why = "it sends a frame that does not end where it says";
		return -1;
	}
	*ret = (struct rabbitmq_frame){data[0], get16(data + 1), data + HEAD, payload};
	return (int)(payload + RABBITMQ_FRAME_EXTRA);
}

// Bytes of a value of this kind that is neither text nor table; -1: another.
static int width_of(uint8_t kind)
{
	switch (kind) {
	case AMQP_FIELD_KIND_VOID: return 0;
	case AMQP_FIELD_KIND_BOOLEAN:
	case AMQP_FIELD_KIND_I8:
	case AMQP_FIELD_KIND_U8: return 1;
	case AMQP_FIELD_KIND_I16:
	case AMQP_FIELD_KIND_U16: return 2;
	case AMQP_FIELD_KIND_I32:
	case AMQP_FIELD_KIND_U32:
	case AMQP_FIELD_KIND_F32: return 4;
	case AMQP_FIELD_KIND_DECIMAL: return 5;
	case AMQP_FIELD_KIND_I64:
	case AMQP_FIELD_KIND_U64:
	case AMQP_FIELD_KIND_F64:
	case AMQP_FIELD_KIND_TIMESTAMP: return 8;
	default: return -1;
	}
}

struct level {
	size_t end;
	bool is_table; // else an array: its values have no names
};

// Bytes of the table with its size in front; -1: it is none, or too deep.
static ssize_t table_walk(const uint8_t *data, size_t size)
{
	struct level levels[RABBITMQ_FRAME_DEPTH];
	size_t at = 4, depth = 1;

	if (size < 4 || get32(data) > size - 4)
		return -1;
	levels[0] = (struct level){4 + get32(data), true};
	while (depth > 0) {
		const struct level *level = &levels[depth - 1];
		uint32_t length;
		uint8_t kind;
		int width;

		if (at == level->end) {
			--depth;
			continue;
		}
		if (level->is_table)
			at += 1u + data[at];
		if (at >= level->end)
			return -1;
		kind = data[at++];
		width = width_of(kind);
		if (width >= 0) {
			if ((size_t)width > level->end - at)
				return -1;
			at += (size_t)width;
			continue;
		}
		if (level->end - at < 4)
			return -1;
		length = get32(data + at);
		at += 4;
		if (length > level->end - at)
			return -1;
		if (kind == AMQP_FIELD_KIND_UTF8 || kind == AMQP_FIELD_KIND_BYTES) {
			at += length;
			continue;
		}
		if ((kind != AMQP_FIELD_KIND_TABLE && kind != AMQP_FIELD_KIND_ARRAY) ||
		    depth == RABBITMQ_FRAME_DEPTH)
			return -1;
		levels[depth++] = (struct level){at + length, kind == AMQP_FIELD_KIND_TABLE};
	}
	return (ssize_t)at;
}

// The methods that a broker may send.
static bool is_answer(amqp_method_number_t id)
{
	switch (id) {
	case AMQP_CONNECTION_START_METHOD:
	case AMQP_CONNECTION_SECURE_METHOD:
	case AMQP_CONNECTION_TUNE_METHOD:
	case AMQP_CONNECTION_OPEN_OK_METHOD:
	case AMQP_CONNECTION_CLOSE_METHOD:
	case AMQP_CONNECTION_CLOSE_OK_METHOD:
	case AMQP_CONNECTION_BLOCKED_METHOD:
	case AMQP_CONNECTION_UNBLOCKED_METHOD:
	case AMQP_CHANNEL_OPEN_OK_METHOD:
	case AMQP_CHANNEL_FLOW_METHOD:
	case AMQP_CHANNEL_FLOW_OK_METHOD:
	case AMQP_CHANNEL_CLOSE_METHOD:
	case AMQP_CHANNEL_CLOSE_OK_METHOD:
	case AMQP_EXCHANGE_DECLARE_OK_METHOD:
	case AMQP_EXCHANGE_DELETE_OK_METHOD:
	case AMQP_EXCHANGE_BIND_OK_METHOD:
	case AMQP_EXCHANGE_UNBIND_OK_METHOD:
	case AMQP_QUEUE_DECLARE_OK_METHOD:
	case AMQP_QUEUE_BIND_OK_METHOD:
	case AMQP_QUEUE_PURGE_OK_METHOD:
	case AMQP_QUEUE_DELETE_OK_METHOD:
	case AMQP_QUEUE_UNBIND_OK_METHOD:
	case AMQP_BASIC_QOS_OK_METHOD:
	case AMQP_BASIC_CONSUME_OK_METHOD:
	case AMQP_BASIC_CANCEL_METHOD:
	case AMQP_BASIC_CANCEL_OK_METHOD:
	case AMQP_BASIC_RETURN_METHOD:
	case AMQP_BASIC_DELIVER_METHOD:
	case AMQP_BASIC_GET_OK_METHOD:
	case AMQP_BASIC_GET_EMPTY_METHOD:
	case AMQP_BASIC_ACK_METHOD:
	case AMQP_BASIC_NACK_METHOD:
	case AMQP_BASIC_RECOVER_OK_METHOD:
	case AMQP_CONFIRM_SELECT_OK_METHOD: return true;
	default: return false;
	}
}

bool rabbitmq_frame_method(const struct rabbitmq_frame *frame, amqp_pool_t *pool,
			   amqp_method_t *ret, const char **ret_why)
{
	amqp_bytes_t encoded;

	*ret_why = "it sends a method that no broker sends";
	if (frame->size < 4)
		return false;
	ret->id = get32(frame->payload);
	if (!is_answer(ret->id))
		return false;
	*ret_why = "it sends a method that cannot be read";
	encoded = (amqp_bytes_t){frame->size - 4, (void *)(uintptr_t)(frame->payload + 4)};
	// Of the methods above only this one has a table: behind the two bytes of its version.
	if (ret->id == AMQP_CONNECTION_START_METHOD &&
	    (encoded.len < 2 || table_walk(frame->payload + 6, encoded.len - 2) < 0))
		return false;
	return amqp_decode_method(ret->id, pool, encoded, &ret->decoded) == AMQP_STATUS_OK;
}

// Skips a short text at *at. False: it does not end inside.
static bool short_skip(const uint8_t *data, size_t size, size_t *at)
{
	if (*at >= size || data[*at] > size - *at - 1)
		return false;
	*at += 1u + data[*at];
	return true;
}

// The properties behind their flags: what is in front of the headers, and the headers.
static bool headers_check(uint16_t flags, const uint8_t *data, size_t size)
{
	size_t at = 0;

	if (flags & AMQP_BASIC_CONTENT_TYPE_FLAG && !short_skip(data, size, &at))
		return false;
	if (flags & AMQP_BASIC_CONTENT_ENCODING_FLAG && !short_skip(data, size, &at))
		return false;
	return !(flags & AMQP_BASIC_HEADERS_FLAG) || table_walk(data + at, size - at) >= 0;
}

bool rabbitmq_frame_content(const struct rabbitmq_frame *frame, amqp_pool_t *pool,
			    uint64_t *ret_body_size, amqp_basic_properties_t **ret,
			    const char **ret_why)
{
	amqp_bytes_t encoded;
	uint64_t body_size;
	void *decoded;

	*ret_why = "it sends properties of a message that cannot be read";
	if (frame->size < 14 || get16(frame->payload) != AMQP_BASIC_CLASS ||
	    get16(frame->payload + 12) & 1 ||
	    !headers_check(get16(frame->payload + 12), frame->payload + 14, frame->size - 14))
		return false;
	encoded = (amqp_bytes_t){frame->size - 12, (void *)(uintptr_t)(frame->payload + 12)};
	if (amqp_decode_properties(AMQP_BASIC_CLASS, pool, encoded, &decoded) != AMQP_STATUS_OK)
		return false;
	memcpy(&body_size, frame->payload + 4, sizeof body_size);
	*ret_body_size = be64toh(body_size);
	*ret = decoded;
	return true;
}

// Puts a head and an end around a payload that is in its place.
static size_t frame_close(uint8_t *room, uint8_t type, uint16_t channel, size_t payload)
{
	uint16_t channel_be = htobe16(channel);
	uint32_t payload_be = htobe32((uint32_t)payload);

	room[0] = type;
	memcpy(room + 1, &channel_be, sizeof channel_be);
	memcpy(room + 3, &payload_be, sizeof payload_be);
	room[HEAD + payload] = AMQP_FRAME_END;
	return payload + RABBITMQ_FRAME_EXTRA;
}

size_t rabbitmq_frame_put_method(uint8_t *room, size_t size, uint16_t channel,
				 amqp_method_number_t id, void *decoded)
{
	uint32_t id_be = htobe32(id);
	int used;

	if (size < RABBITMQ_FRAME_EXTRA + 4)
		return 0;
	memcpy(room + HEAD, &id_be, sizeof id_be);
	used = amqp_encode_method(id, decoded,
				  (amqp_bytes_t){size - RABBITMQ_FRAME_EXTRA - 4, room + HEAD + 4});
	return used < 0 ? 0 : frame_close(room, AMQP_FRAME_METHOD, channel, (size_t)used + 4);
}

size_t rabbitmq_frame_put_content(uint8_t *room, size_t size, uint16_t channel, uint64_t body_size,
				  const amqp_basic_properties_t *properties)
{
	uint16_t class_be = htobe16(AMQP_BASIC_CLASS);
	uint64_t body_be = htobe64(body_size);
	int used;

	if (size < RABBITMQ_FRAME_EXTRA + 12)
		return 0;
	memcpy(room + HEAD, &class_be, sizeof class_be);
	memset(room + HEAD + 2, 0, 2); // a weight that AMQP has no use for
	memcpy(room + HEAD + 4, &body_be, sizeof body_be);
	used = amqp_encode_properties(
		AMQP_BASIC_CLASS, (void *)(uintptr_t)properties,
		(amqp_bytes_t){size - RABBITMQ_FRAME_EXTRA - 12, room + HEAD + 12});
	return used < 0 ? 0 : frame_close(room, AMQP_FRAME_HEADER, channel, (size_t)used + 12);
}

size_t rabbitmq_frame_put_body(uint8_t *room, size_t size, uint16_t channel, const uint8_t *data,
			       size_t data_size)
{
	if (size < data_size + RABBITMQ_FRAME_EXTRA)
		return 0;
	memcpy(room + HEAD, data, data_size);
	return frame_close(room, AMQP_FRAME_BODY, channel, data_size);
}

size_t rabbitmq_frame_put_heartbeat(uint8_t *room, size_t size)
{
	return size < RABBITMQ_FRAME_EXTRA ? 0 : frame_close(room, AMQP_FRAME_HEARTBEAT, 0, 0);
}
