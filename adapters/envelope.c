// Writes and reads the envelope of envelope.h.
//
// It holds the rest of a record: version, a byte that names the optional parts, id, creation time,
// then those parts exactly as in the record. It is checked by making a record of it that has
// nothing else. Behind them, where a time to live needs it, stands the time at which the proxy took
// the message: the timestamp of the backend's message may be its producer's.
//
// What it does not do: look for the header among others; that is the backend's mapping.

#include "adapters/envelope.h"

#define ENVELOPE_VERSION 1
// The flags of the parts it may hold, and where they lie in its second byte.
#define PARTS       (ENVELOPE_ASKED | RECORD_PARTITION)
#define PARTS_SHIFT 2
#define ACCEPTED    0x40u // in that byte: behind the parts, i64 ms; only with a time to live

// The optional parts as they lie in the record.
static struct slice parts_of(const struct record_view *view)
{
	const uint8_t *parts = view->data + RECORD_HEAD_SIZE;
	const uint8_t *end = view->flags & RECORD_HEADERS
				     ? view->headers.data - 6
				     : view->data + view->size - view->key.size - view->body.size;

	return (struct slice){parts, (size_t)(end - parts)};
}

size_t envelope_size(const struct record_view *view, bool native)
{
	if (native && !(view->flags & ENVELOPE_ASKED))
		return 0;
	return ENVELOPE_FIXED_SIZE + parts_of(view).size + (view->flags & RECORD_TTL ? 8 : 0);
}

size_t envelope_write(const struct record_view *view, int64_t accepted_ms,
		      uint8_t room[ENVELOPE_MAX])
{
	struct slice parts = parts_of(view);
	size_t size = ENVELOPE_FIXED_SIZE + parts.size;

	room[0] = ENVELOPE_VERSION;
	room[1] = (uint8_t)((view->flags & PARTS) >> PARTS_SHIFT);
	memcpy(room + 2, view->id, RECORD_ID_SIZE);
	le64_put(room + 18, (uint64_t)view->created_ms);
	memcpy(room + ENVELOPE_FIXED_SIZE, parts.data, parts.size);
	if (!(view->flags & RECORD_TTL))
		return size;
	room[1] |= ACCEPTED;
	le64_put(room + size, (uint64_t)accepted_ms);
	return size + 8;
}

// Into a record that has only what the envelope holds: neither key nor body nor headers.
static bool parts_read(const uint8_t *value, size_t size, uint32_t flags, uint8_t *rest)
{
	uint32_t record_bytes;

	memset(rest, 0, RECORD_HEAD_SIZE);
	le32_put(rest, (uint32_t)(RECORD_HEAD_SIZE + size - ENVELOPE_FIXED_SIZE));
	le32_put(rest + 4, flags);
	memcpy(rest + 8, value + 2, ENVELOPE_FIXED_SIZE - 2);
	memcpy(rest + RECORD_HEAD_SIZE, value + ENVELOPE_FIXED_SIZE, size - ENVELOPE_FIXED_SIZE);
	return record_check(rest, ENVELOPE_REST_MAX, &record_bytes) == RECORD_OK;
}

bool envelope_read(const uint8_t *value, size_t size, uint8_t rest[ENVELOPE_REST_MAX],
		   int64_t *ret_accepted_ms)
{
	uint32_t flags;
	bool accepted;

	if (!value || size < ENVELOPE_FIXED_SIZE || size > ENVELOPE_MAX ||
	    value[0] != ENVELOPE_VERSION)
		return false;
	accepted = value[1] & ACCEPTED;
	flags = (value[1] & ~ACCEPTED) << PARTS_SHIFT;
	if (flags & ~(uint32_t)PARTS)
		return false;
	if (accepted && (!(flags & RECORD_TTL) || size < ENVELOPE_FIXED_SIZE + 8))
		return false;
	size -= accepted ? 8 : 0;
	if (size > ENVELOPE_FIXED_SIZE + ENVELOPE_PARTS_MAX ||
	    !parts_read(value, size, flags, rest))
		return false;
	if (accepted)
		*ret_accepted_ms = MAX((int64_t)le64_get(value + size), 0);
	return true;
}
