// A record: one message as it lies on the wire and in the embedded store.
//
// The order is: head of 40 bytes, optional parts in the order of their flags, key, body. The common
// record (no optional part) is checked with a handful of compares; optional parts are walked only
// where flags announce them.
//
// Invariants: record_check() accepts a record only if its parts fill it exactly; every other
// function here requires a record that it accepted. Nothing is copied on reading: views point into
// the record. A record whose size is known but whose contents are wrong (RECORD_MALFORMED) can be
// refused alone; one without a usable size (RECORD_BROKEN) makes the rest of its batch unreadable.

#include "core/wire/record.h"

#include "core/base/utf8.h"

// Walks the optional parts; false when they do not fit between head and key. *ret_used counts their
// bytes.
static bool optional_parts_walk(const uint8_t *data, uint32_t room, struct record_view *view,
				uint32_t *ret_used)
{
	const uint8_t *at = data + RECORD_HEAD_SIZE, *end = at + room;
	uint32_t flags = view->flags;

#define TAKE(bytes)                                                                                \
	do {                                                                                       \
		if ((size_t)(end - at) < (size_t)(bytes))                                          \
			return false;                                                              \
		at += (bytes);                                                                     \
	} while (0)

	if (flags & RECORD_DUE) {
		TAKE(8);
		view->due_ms = (int64_t)le64_get(at - 8);
	}
	if (flags & RECORD_TTL) {
		TAKE(4);
		view->ttl_ms = le32_get(at - 4);
	}
	if (flags & RECORD_PRIORITY) {
		TAKE(1);
		view->priority = at[-1];
	}
	if (flags & RECORD_PARTITION) {
		TAKE(4);
		view->partition = le32_get(at - 4);
	}
	if (flags & RECORD_TAG) {
		TAKE(1);
		view->tag.size = at[-1];
		TAKE(view->tag.size);
		view->tag.data = at - view->tag.size;
	}
	if (flags & RECORD_TRACE) {
		TAKE(RECORD_TRACE_SIZE);
		view->trace = at - RECORD_TRACE_SIZE;
	}
	if (flags & RECORD_HEADERS) {
		TAKE(6);
		view->headers.size = le32_get(at - 6);
		view->header_count = le16_get(at - 2);
		TAKE(view->headers.size);
		view->headers.data = at - view->headers.size;
	}
#undef TAKE
	*ret_used = (uint32_t)(at - (data + RECORD_HEAD_SIZE));
	return true;
}

bool record_headers_check(struct slice entries, uint16_t count)
{
	const uint8_t *at = entries.data, *end = at + entries.size;

	if (count > RECORD_HEADERS_MAX)
		return false;
	for (unsigned i = 0; i < count; ++i) {
		size_t name_size, value_size;

		if (end - at < 2)
			return false;
		name_size = le16_get(at);
		at += 2;
		if (name_size == 0 || (size_t)(end - at) < name_size + 4 ||
		    !utf8_valid(at, name_size))
			return false;
		at += name_size;
		value_size = le32_get(at);
		at += 4;
		if (value_size == RECORD_ABSENT)
			continue;
		if ((size_t)(end - at) < value_size)
			return false;
		at += value_size;
	}
	return at == end;
}

// Not inlined: its locals would cost every plain record a larger frame (55 instructions, not 31).
__attribute__((noinline)) static enum record_problem optional_parts_check(const uint8_t *data,
									  uint32_t room)
{
	struct record_view view = {.flags = record_flags(data), .priority = 4};
	uint32_t used;

	if (!optional_parts_walk(data, room, &view, &used) || used != room)
		return RECORD_MALFORMED;
	if (view.priority > 9)
		return RECORD_MALFORMED;
	if ((view.flags & RECORD_TAG) &&
	    (view.tag.size == 0 || !utf8_valid(view.tag.data, view.tag.size)))
		return RECORD_MALFORMED;
	if ((view.flags & RECORD_HEADERS) && !record_headers_check(view.headers, view.header_count))
		return RECORD_MALFORMED;
	return RECORD_OK;
}

// Sizes are added in 64 bits: key and body are 32 bits each, and may not overflow into a small sum.
// An id of only zeros is refused, since it stands for "none".
enum record_problem record_check(const uint8_t *data, size_t left, uint32_t *ret_size)
{
	uint32_t size, flags;
	uint64_t key_size, body_size, needed;

	if (left < RECORD_HEAD_SIZE)
		return RECORD_BROKEN;
	size = record_size(data);
	if (size < RECORD_HEAD_SIZE || size > left)
		return RECORD_BROKEN;
	*ret_size = size;
	flags = record_flags(data);
	key_size = le32_get(data + 32);
	body_size = le32_get(data + 36);
	needed = RECORD_HEAD_SIZE + key_size + body_size;
	if (needed > size || flags & ~(uint32_t)RECORD_FLAGS)
		return RECORD_MALFORMED;
	if ((!(flags & RECORD_KEY) && key_size) || (!(flags & RECORD_BODY) && body_size))
		return RECORD_MALFORMED;
	if ((le64_get(data + 8) | le64_get(data + 16)) == 0)
		return RECORD_MALFORMED;
	if (flags & ~(uint32_t)(RECORD_KEY | RECORD_BODY))
		return optional_parts_check(data, size - (uint32_t)needed);
	return needed == size ? RECORD_OK : RECORD_MALFORMED;
}

void record_read(const uint8_t *data, struct record_view *ret)
{
	uint32_t key_size = le32_get(data + 32), body_size = le32_get(data + 36), used = 0;
	struct record_view view = {
		.data = data,
		.size = record_size(data),
		.flags = record_flags(data),
		.id = data + 8,
		.created_ms = (int64_t)le64_get(data + 24),
		.priority = 4,
	};

	optional_parts_walk(data, view.size - RECORD_HEAD_SIZE - key_size - body_size, &view,
			    &used);
	if (view.flags & RECORD_KEY)
		view.key = (struct slice){data + view.size - body_size - key_size, key_size};
	if (view.flags & RECORD_BODY)
		view.body = (struct slice){data + view.size - body_size, body_size};
	*ret = view;
}

// A multiplication carries only upwards, and what counts up in an id is in the highest bits of its
// second half: so the high bits are folded down in between.
uint64_t record_id_hash(const uint8_t id[RECORD_ID_SIZE])
{
	uint64_t hash = le64_get(id) * 0x9e3779b97f4a7c15ull ^ le64_get(id + 8);

	hash = (hash ^ hash >> 32) * 0xc2b2ae3d27d4eb4full;
	return hash ^ hash >> 29;
}

bool record_header_next(const struct record_view *view, size_t *cursor, struct record_header *ret)
{
	const uint8_t *at;
	uint32_t value_size;

	if (*cursor >= view->headers.size)
		return false;
	at = view->headers.data + *cursor;
	ret->name = (struct slice){at + 2, le16_get(at)};
	at += 2 + ret->name.size;
	value_size = le32_get(at);
	at += 4;
	ret->value = value_size == RECORD_ABSENT ? (struct slice){NULL, 0}
						 : (struct slice){at, value_size};
	*cursor = (size_t)(at + ret->value.size - view->headers.data);
	return true;
}

static uint32_t parts_flags(const struct record_parts *parts)
{
	uint32_t flags =
		parts->flags & (RECORD_DUE | RECORD_TTL | RECORD_PRIORITY | RECORD_PARTITION);

	flags |= parts->key.data ? RECORD_KEY : 0;
	flags |= parts->body.data ? RECORD_BODY : 0;
	flags |= parts->tag.data ? RECORD_TAG : 0;
	flags |= parts->trace ? RECORD_TRACE : 0;
	flags |= parts->header_count || parts->raw_header_count ? RECORD_HEADERS : 0;
	return flags;
}

static uint64_t headers_size(const struct record_parts *parts)
{
	uint64_t size = parts->raw_headers.size;

	for (unsigned i = 0; i < parts->header_count; ++i)
		size += 6 + parts->headers[i].name.size + parts->headers[i].value.size;
	return size;
}

uint64_t record_parts_size(const struct record_parts *parts)
{
	uint32_t flags = parts_flags(parts);
	uint64_t size = RECORD_HEAD_SIZE + (uint64_t)parts->key.size + parts->body.size;

	size += flags & RECORD_DUE ? 8 : 0;
	size += flags & RECORD_TTL ? 4 : 0;
	size += flags & RECORD_PRIORITY ? 1 : 0;
	size += flags & RECORD_PARTITION ? 4 : 0;
	size += flags & RECORD_TAG ? 1 + parts->tag.size : 0;
	size += flags & RECORD_TRACE ? RECORD_TRACE_SIZE : 0;
	size += flags & RECORD_HEADERS ? 6 + headers_size(parts) : 0;
	return size;
}

static uint8_t *bytes_put(uint8_t *at, const void *bytes, size_t size)
{
	if (size) {
		assert(bytes);
		memcpy(at, bytes, size);
	}
	return at + size;
}

static uint8_t *headers_write(const struct record_parts *parts, uint8_t *at)
{
	le32_put(at, (uint32_t)headers_size(parts));
	le16_put(at + 4, (uint16_t)(parts->raw_header_count + parts->header_count));
	at = bytes_put(at + 6, parts->raw_headers.data, parts->raw_headers.size);
	for (unsigned i = 0; i < parts->header_count; ++i) {
		const struct record_header *header = &parts->headers[i];

		le16_put(at, (uint16_t)header->name.size);
		at = bytes_put(at + 2, header->name.data, header->name.size);
		le32_put(at, header->value.data ? (uint32_t)header->value.size : RECORD_ABSENT);
		at = bytes_put(at + 4, header->value.data, header->value.size);
	}
	return at;
}

// `room` has record_parts_size() bytes. The size is written last, from where the writing ended.
void record_write(const struct record_parts *parts, uint8_t *room)
{
	uint32_t flags = parts_flags(parts);
	uint8_t *at = room + RECORD_HEAD_SIZE;

	le32_put(room + 4, flags);
	memcpy(room + 8, parts->id, RECORD_ID_SIZE);
	le64_put(room + 24, (uint64_t)parts->created_ms);
	le32_put(room + 32, (uint32_t)parts->key.size);
	le32_put(room + 36, (uint32_t)parts->body.size);
	if (flags & ~(uint32_t)(RECORD_KEY | RECORD_BODY)) {
		if (flags & RECORD_DUE) {
			le64_put(at, (uint64_t)parts->due_ms);
			at += 8;
		}
		if (flags & RECORD_TTL) {
			le32_put(at, parts->ttl_ms);
			at += 4;
		}
		if (flags & RECORD_PRIORITY)
			*at++ = parts->priority;
		if (flags & RECORD_PARTITION) {
			le32_put(at, parts->partition);
			at += 4;
		}
		if (flags & RECORD_TAG) {
			*at = (uint8_t)parts->tag.size;
			at = bytes_put(at + 1, parts->tag.data, parts->tag.size);
		}
		if (flags & RECORD_TRACE)
			at = bytes_put(at, parts->trace, RECORD_TRACE_SIZE);
		if (flags & RECORD_HEADERS)
			at = headers_write(parts, at);
	}
	at = bytes_put(at, parts->key.data, parts->key.size);
	at = bytes_put(at, parts->body.data, parts->body.size);
	le32_put(room, (uint32_t)(at - room));
}

void record_parts_of(const struct record_view *view, struct record_parts *ret)
{
	*ret = (struct record_parts){
		.id = view->id,
		.created_ms = view->created_ms,
		.due_ms = view->due_ms,
		.ttl_ms = view->ttl_ms,
		.partition = view->partition,
		.priority = view->priority,
		.flags = view->flags,
		.trace = view->trace,
		.tag = view->tag,
		.key = view->key,
		.body = view->body,
		.raw_headers = view->headers,
		.raw_header_count = view->header_count,
	};
}
