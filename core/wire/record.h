// A record: one message as bytes (docs/protocol.md section 4), the same on the wire, in a store and
// in a delivery.
#pragma once

#include "core/base/buf.h"
#include "core/base/util.h"

#include <stdbool.h>

#define RECORD_HEAD_SIZE   40
#define RECORD_ID_SIZE     16
#define RECORD_TRACE_SIZE  25
#define RECORD_HEADERS_MAX 65000u     // leaves room in the u16 for those that a dead letter adds
#define RECORD_ABSENT      UINT32_MAX // size of a header value that is absent

enum record_flag {
	RECORD_KEY = 1 << 0,
	RECORD_BODY = 1 << 1,
	RECORD_DUE = 1 << 2,
	RECORD_TTL = 1 << 3,
	RECORD_PRIORITY = 1 << 4,
	RECORD_PARTITION = 1 << 5,
	RECORD_TAG = 1 << 6,
	RECORD_TRACE = 1 << 7,
	RECORD_HEADERS = 1 << 8,
	RECORD_FLAGS = (1 << 9) - 1,
};

// What is wrong with a record. Everything but RECORD_BROKEN concerns this record alone.
enum record_problem {
	RECORD_OK,
	RECORD_BROKEN,    // its size does not chain: the whole frame is refused
	RECORD_MALFORMED, // its parts do not add up, or a value is out of range
};

struct record_view {
	const uint8_t *data;
	uint32_t size, flags;
	const uint8_t *id;
	int64_t created_ms, due_ms;
	uint32_t ttl_ms, partition;
	uint8_t priority; // 4 unless given
	const uint8_t *trace;
	struct slice tag;
	struct slice headers; // entries, for record_header_next
	uint16_t header_count;
	struct slice key, body; // data NULL: absent
};

// Checks a record at the start of `data`, of which `left` bytes are there. Reads only what the
// record holds; *ret_size is set unless RECORD_BROKEN.
enum record_problem record_check(const uint8_t *data, size_t left, uint32_t *ret_size);

void record_read(const uint8_t *data, struct record_view *ret); // of a checked record

static inline uint32_t record_size(const uint8_t *data)
{
	return le32_get(data);
}

static inline uint32_t record_flags(const uint8_t *data)
{
	return le32_get(data + 4);
}

static inline const uint8_t *record_id(const uint8_t *data)
{
	return data + 8;
}

// For tables of ids. All bytes count in all bits of it: producers count up in the last bytes.
uint64_t record_id_hash(const uint8_t id[RECORD_ID_SIZE]);

// Key of a checked record; data NULL: absent. Cheap: needs no view.
static inline struct slice record_key(const uint8_t *data)
{
	uint32_t key_size = le32_get(data + 32), body_size = le32_get(data + 36);

	if (!(record_flags(data) & RECORD_KEY))
		return (struct slice){NULL, 0};
	return (struct slice){data + record_size(data) - body_size - key_size, key_size};
}

// Whether these are `count` headers as a record has them, and nothing else.
bool record_headers_check(struct slice entries, uint16_t count);

struct record_header {
	struct slice name;
	struct slice value; // data NULL: absent
};

// Headers in order: start with *cursor = 0; false at the end.
bool record_header_next(const struct record_view *view, size_t *cursor, struct record_header *ret);

// ---- making one

// What a record is made of. Borrowed; slices with data NULL are absent (an empty one needs any
// pointer).
struct record_parts {
	const uint8_t *id; // RECORD_ID_SIZE bytes
	int64_t created_ms, due_ms;
	uint32_t ttl_ms, partition;
	uint8_t priority;
	uint32_t flags; // which of due, ttl, priority, partition are there; the rest follows from
			// the slices
	const uint8_t *trace;
	struct slice tag, key, body;
	const struct record_header *headers;
	uint16_t header_count;
	struct slice raw_headers; // entries as in a view, before `headers`
	uint16_t raw_header_count;
};

uint64_t record_parts_size(const struct record_parts *parts); // what record_write will need
void record_write(const struct record_parts *parts,
		  uint8_t *room); // record_parts_size() bytes, at most UINT32_MAX
void record_parts_of(const struct record_view *view,
		     struct record_parts *ret); // for a changed copy
