// Writes and reads the envelope of envelope.h.
//
// It holds the rest of a record: version, a byte that names the optional parts, id, creation time,
// then those parts exactly as in the record. It is checked by making a record of it that has
// nothing else. Behind them, where a time to live needs it, stands the time at which the proxy took
// the message: the timestamp of the backend's message may be its producer's. Last, where the
// backend keeps no partitions, the one that was chosen.
//
// What it does not do: look for the header among others; that is the backend's mapping.

#include "adapters/envelope.h"

#define ENVELOPE_VERSION 1
// The flags of the parts it may hold, and where they lie in its second byte.
#define PARTS       (ENVELOPE_ASKED | RECORD_PARTITION)
#define PARTS_SHIFT 2
// In that byte, of what is behind the parts:
#define ACCEPTED 0x40u // i64 ms; only with a time to live
#define PLACED   0x80u // u32

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

size_t envelope_write(const struct record_view *view, int64_t accepted_ms, uint32_t placed,
		      uint8_t room[ENVELOPE_MAX])
{
	struct slice parts = parts_of(view);
	size_t size = ENVELOPE_FIXED_SIZE + parts.size;

	room[0] = ENVELOPE_VERSION;
	room[1] = (uint8_t)((view->flags & PARTS) >> PARTS_SHIFT);
	memcpy(room + 2, view->id, RECORD_ID_SIZE);
	le64_put(room + 18, (uint64_t)view->created_ms);
	memcpy(room + ENVELOPE_FIXED_SIZE, parts.data, parts.size);
	if (view->flags & RECORD_TTL) {
		room[1] |= ACCEPTED;
		le64_put(room + size, (uint64_t)accepted_ms);
		size += 8;
	}
	if (placed != ENVELOPE_NOT_PLACED) {
		room[1] |= PLACED;
		le32_put(room + size, placed);
		size += 4;
	}
	return size;
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
		   int64_t *ret_accepted_ms, uint32_t *ret_placed)
{
	size_t behind;
	uint32_t flags;
	bool accepted, placed;

	if (!value || size < ENVELOPE_FIXED_SIZE || size > ENVELOPE_MAX ||
	    value[0] != ENVELOPE_VERSION)
		return false;
	accepted = value[1] & ACCEPTED;
	placed = value[1] & PLACED;
	flags = (value[1] & ~(ACCEPTED | PLACED)) << PARTS_SHIFT;
	behind = (accepted ? 8 : 0) + (placed ? 4 : 0);
	if ((placed && !ret_placed) || (accepted && !(flags & RECORD_TTL)) ||
	    size < ENVELOPE_FIXED_SIZE + behind)
		return false;
	size -= behind;
	if (size > ENVELOPE_FIXED_SIZE + ENVELOPE_PARTS_MAX ||
	    !parts_read(value, size, flags, rest))
		return false;
	if (accepted)
		*ret_accepted_ms = MAX((int64_t)le64_get(value + size), 0);
	if (placed)
		*ret_placed = le32_get(value + size + behind - 4);
	return true;
}
