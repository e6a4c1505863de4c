// Makes a Kafka message of a wire record, and the other way round.
//
// The envelope, the value of the header `mqp`, holds the rest of a record: version, a byte that
// names the optional parts, id, creation time, then those parts exactly as in the record. It is
// checked by making a record of it that has nothing else. Behind them, where a time to live needs
// it, stands the time at which the proxy took the message: the timestamp may be the producer's.
//
// Of several headers named `mqp` the first is the envelope, if it is valid; every other, and a
// first one that is not valid, is a user's own. Pure: it allocates headers and nothing else.

#include "adapters/kafka/topic/message.h"

#include "core/base/utf8.h"

#define ENVELOPE_VERSION 1
#define ENVELOPE_HEAD    26u // version, parts, id, creation time
#define ENVELOPE_MAX     (ENVELOPE_HEAD + MESSAGE_PARTS_MAX + 8)
// The flags of the parts it may hold, and where they lie in its second byte.
#define PARTS                                                                                      \
	(RECORD_DUE | RECORD_TTL | RECORD_PRIORITY | RECORD_PARTITION | RECORD_TAG | RECORD_TRACE)
#define PARTS_SHIFT 2
#define ACCEPTED    0x40u // in that byte: behind the parts, i64 ms; only with a time to live
// Those without which a message of a native topic would not be what was asked for.
#define PARTS_ASKED (PARTS & ~RECORD_PARTITION)

// ---- a record as a message

bool message_has_headers(const uint8_t *record, bool native)
{
	return !native || (record_flags(record) & (PARTS_ASKED | RECORD_HEADERS));
}

// The optional parts as they lie in the record.
static struct slice parts_of(const struct record_view *view)
{
	const uint8_t *parts = view->data + RECORD_HEAD_SIZE;
	const uint8_t *end = view->flags & RECORD_HEADERS
				     ? view->headers.data - 6
				     : view->data + view->size - view->key.size - view->body.size;

	return (struct slice){parts, (size_t)(end - parts)};
}

size_t message_envelope_size(const struct record_view *view, bool native)
{
	if (native && !(view->flags & PARTS_ASKED))
		return 0;
	return ENVELOPE_HEAD + parts_of(view).size + (view->flags & RECORD_TTL ? 8 : 0);
}

static size_t envelope_write(const struct record_view *view, int64_t accepted_ms,
			     uint8_t room[ENVELOPE_MAX])
{
	struct slice parts = parts_of(view);
	size_t size = ENVELOPE_HEAD + parts.size;

	room[0] = ENVELOPE_VERSION;
	room[1] = (uint8_t)((view->flags & PARTS) >> PARTS_SHIFT);
	memcpy(room + 2, view->id, RECORD_ID_SIZE);
	le64_put(room + 18, (uint64_t)view->created_ms);
	memcpy(room + ENVELOPE_HEAD, parts.data, parts.size);
	if (!(view->flags & RECORD_TTL))
		return size;
	room[1] |= ACCEPTED;
	le64_put(room + size, (uint64_t)accepted_ms);
	return size + 8;
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
	if (message_envelope_size(view, native))
		rd_kafka_header_add(headers, MESSAGE_HEADER, sizeof MESSAGE_HEADER - 1, envelope,
				    (ssize_t)envelope_write(view, accepted_ms, envelope));
	while (record_header_next(view, &cursor, &header))
		rd_kafka_header_add(headers, (const char *)header.name.data,
				    (ssize_t)header.name.size, header.value.data,
				    (ssize_t)header.value.size);
	return headers;
}

// ---- a message as a record

// Into a record that has only what the envelope holds: neither key nor body nor headers.
static bool parts_read(const uint8_t *value, size_t size, uint32_t flags, uint8_t *rest)
{
	uint32_t record_bytes;

	memset(rest, 0, RECORD_HEAD_SIZE);
	le32_put(rest, (uint32_t)(RECORD_HEAD_SIZE + size - ENVELOPE_HEAD));
	le32_put(rest + 4, flags);
	memcpy(rest + 8, value + 2, ENVELOPE_HEAD - 2);
	memcpy(rest + RECORD_HEAD_SIZE, value + ENVELOPE_HEAD, size - ENVELOPE_HEAD);
	return record_check(rest, MESSAGE_REST_MAX, &record_bytes) == RECORD_OK;
}

static bool envelope_read(const uint8_t *value, size_t size, uint8_t rest[MESSAGE_REST_MAX],
			  int64_t *ret_accepted_ms)
{
	uint32_t flags;
	bool accepted;

	if (!value || size < ENVELOPE_HEAD || size > ENVELOPE_MAX || value[0] != ENVELOPE_VERSION)
		return false;
	accepted = value[1] & ACCEPTED;
	flags = (value[1] & ~ACCEPTED) << PARTS_SHIFT;
	if (flags & ~(uint32_t)PARTS)
		return false;
	if (accepted && (!(flags & RECORD_TTL) || size < ENVELOPE_HEAD + 8))
		return false;
	size -= accepted ? 8 : 0;
	if (size > ENVELOPE_HEAD + MESSAGE_PARTS_MAX || !parts_read(value, size, flags, rest))
		return false;
	if (accepted)
		*ret_accepted_ms = MAX((int64_t)le64_get(value + size), 0);
	return true;
}

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
		if (!walk->tried && strcmp(name, MESSAGE_HEADER) == 0) {
			walk->tried = true;
			walk->found =
				envelope_read(value, value_size, walk->rest, &walk->accepted_ms);
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
static void rest_make(const struct message_in *message, uint8_t rest[MESSAGE_REST_MAX])
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
	uint8_t unused[MESSAGE_REST_MAX];
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
