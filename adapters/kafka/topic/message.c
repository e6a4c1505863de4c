// Makes a Kafka message of a wire record, and the other way round.
//
// Of several headers named `mqp` the first is the envelope, if it is valid; every other, and a
// first one that is not valid, is a user's own. Pure: it allocates headers and nothing else.

#include "adapters/kafka/topic/message.h"

#include "core/base/utf8.h"

// ---- a record as a message

bool message_has_headers(const uint8_t *record, bool native)
{
	return !native || (record_flags(record) & (ENVELOPE_ASKED | RECORD_HEADERS));
}

rd_kafka_headers_t *message_headers(const struct record_view *view, bool native,
				    int64_t accepted_ms)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new(1u + view->header_count);
	uint8_t envelope[ENVELOPE_MAX];
	struct record_header header;
	size_t cursor = 0;

	if (!headers)
		return NULL;
	if (envelope_size(view, native))
		rd_kafka_header_add(
			headers, ENVELOPE_HEADER, sizeof ENVELOPE_HEADER - 1, envelope,
			(ssize_t)envelope_write(view, accepted_ms, ENVELOPE_NOT_PLACED, envelope));
	while (record_header_next(view, &cursor, &header))
		rd_kafka_header_add(headers, (const char *)header.name.data,
				    (ssize_t)header.name.size, header.value.data,
				    (ssize_t)header.value.size);
	return headers;
}

// ---- a message as a record

// A header as the record will hold it; false: it cannot.
static bool header_read(const char *name, const void *value, size_t value_size,
			struct record_header *ret)
{
	size_t name_size = strlen(name);

	*ret = (struct record_header){{(const uint8_t *)name, name_size}, {value, value_size}};
	return name_size > 0 && name_size <= UINT16_MAX && utf8_valid(name, name_size);
}

// The headers of a message one after the other, but for the envelope, which is read on the way.
struct walk {
	const rd_kafka_headers_t *headers;
	size_t next;
	uint32_t taken;
	bool tried; // there was a header of that name
	bool found; // and `rest` is from it
	uint8_t *rest;
	int64_t accepted_ms; // 0: it does not say
};

static bool walk_next(struct walk *walk, struct record_header *ret)
{
	const char *name;
	const void *value;
	size_t value_size;

	while (walk->headers && walk->taken < RECORD_HEADERS_MAX &&
	       rd_kafka_header_get_all(walk->headers, walk->next++, &name, &value, &value_size) ==
		       RD_KAFKA_RESP_ERR_NO_ERROR) {
		if (!walk->tried && strcmp(name, ENVELOPE_HEADER) == 0) {
			walk->tried = true;
			walk->found = envelope_read(value, value_size, walk->rest,
						    &walk->accepted_ms, NULL);
			if (walk->found)
				continue;
		}
		if (!header_read(name, value, value_size, ret))
			continue;
		++walk->taken;
		return true;
	}
	return false;
}

// Where a message is, as its id: time of creation, then 32 bits of topic and partition, 48 of the
// offset. The same for every reader.
static void id_of_position(const struct message_in *message, int64_t created_ms, uint8_t *id)
{
	uint32_t place = 2166136261u; // FNV-1a

	for (const char *at = message->physical; *at; ++at)
		place = (place ^ (uint8_t)*at) * 16777619u;
	for (unsigned shift = 0; shift < 32; shift += 8)
		place = (place ^ (uint8_t)(message->partition >> shift)) * 16777619u;
	for (unsigned i = 0; i < 6; ++i) {
		id[i] = (uint8_t)((uint64_t)created_ms >> (40 - 8 * i));
		id[10 + i] = (uint8_t)(message->offset >> (40 - 8 * i));
	}
	for (unsigned i = 0; i < 4; ++i)
		id[6 + i] = (uint8_t)(place >> (24 - 8 * i));
	if ((le64_get(id) | le64_get(id + 8)) == 0) // the one id that nothing may have
		id[6] = 1;
}

// What stands for the envelope of a message that has none.
static void rest_make(const struct message_in *message, uint8_t rest[ENVELOPE_REST_MAX])
{
	int64_t created_ms = MAX(message->timestamp_ms, 0);

	memset(rest, 0, RECORD_HEAD_SIZE);
	le32_put(rest, RECORD_HEAD_SIZE);
	id_of_position(message, created_ms, rest + 8);
	le64_put(rest + 24, (uint64_t)created_ms);
}

bool message_measure(const struct message_in *message, struct message_plan *ret)
{
	struct walk walk = {.headers = message->headers, .rest = ret->rest};
	struct record_header header;
	uint64_t size;

	ret->header_bytes = 0;
	while (walk_next(&walk, &header))
		ret->header_bytes += 6 + header.name.size + header.value.size;
	ret->header_count = (uint16_t)walk.taken;
	ret->stored_ms =
		message->appended || !walk.accepted_ms ? message->timestamp_ms : walk.accepted_ms;
	if (!walk.found)
		rest_make(message, ret->rest);
	size = record_size(ret->rest) + (ret->header_count ? 6 + ret->header_bytes : 0) +
	       message->key.size + message->body.size;
	ret->size = (uint32_t)size;
	return size <= UINT32_MAX;
}

static uint8_t *bytes_write(uint8_t *at, const uint8_t *bytes, size_t size)
{
	if (size)
		memcpy(at, bytes, size);
	return at + size;
}

static uint8_t *headers_write(const struct message_in *message, const struct message_plan *plan,
			      uint8_t *at)
{
	uint8_t unused[ENVELOPE_REST_MAX];
	struct walk walk = {.headers = message->headers, .rest = unused};
	struct record_header header;

	le32_put(at, (uint32_t)plan->header_bytes);
	le16_put(at + 4, plan->header_count);
	at += 6;
	while (walk_next(&walk, &header)) {
		le16_put(at, (uint16_t)header.name.size);
		at = bytes_write(at + 2, header.name.data, header.name.size);
		le32_put(at, header.value.data ? (uint32_t)header.value.size : RECORD_ABSENT);
		at = bytes_write(at + 4, header.value.data, header.value.size);
	}
	return at;
}

void message_record_write(const struct message_in *message, const struct message_plan *plan,
			  uint8_t *room)
{
	uint8_t *at = bytes_write(room, plan->rest, record_size(plan->rest));
	uint32_t flags = record_flags(plan->rest);

	flags |= message->key.data ? RECORD_KEY : 0;
	flags |= message->body.data ? RECORD_BODY : 0;
	flags |= plan->header_count ? RECORD_HEADERS : 0;
	if (plan->header_count)
		at = headers_write(message, plan, at);
	at = bytes_write(at, message->key.data, message->key.size);
	bytes_write(at, message->body.data, message->body.size);
	le32_put(room, plan->size);
	le32_put(room + 4, flags);
	le32_put(room + 32, (uint32_t)message->key.size);
	le32_put(room + 36, (uint32_t)message->body.size);
}
