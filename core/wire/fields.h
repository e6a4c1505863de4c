// The fields of control frames (docs/protocol.md section 2): written one by one, read through a
// table that checks them.
#pragma once

#include "core/base/buf.h"
#include "core/base/util.h"

#include <stdbool.h>

enum field_type {
	FIELD_IS_TEXT,
	FIELD_IS_BYTES,
	FIELD_IS_U8,
	FIELD_IS_U16,
	FIELD_IS_U32,
	FIELD_IS_U64
};

//     name, tag, type, largest size, may repeat
#define FIELD_TABLE(ROW)                                                                           \
	ROW(CLIENT_NAME, 1, FIELD_IS_TEXT, 64, false)                                              \
	ROW(CLIENT_VERSION, 2, FIELD_IS_TEXT, 64, false)                                           \
	ROW(CLIENT_ID, 3, FIELD_IS_TEXT, 128, false)                                               \
	ROW(CODECS, 4, FIELD_IS_U8, 1, false)                                                      \
	ROW(FEATURES, 5, FIELD_IS_U64, 8, false)                                                   \
	ROW(SERVER_VERSION, 6, FIELD_IS_TEXT, 64, false)                                           \
	ROW(PROXY_ID, 7, FIELD_IS_TEXT, 64, false)                                                 \
	ROW(MAX_FRAME, 8, FIELD_IS_U32, 4, false)                                                  \
	ROW(MAX_MESSAGE, 9, FIELD_IS_U32, 4, false)                                                \
	ROW(MECHANISMS, 10, FIELD_IS_TEXT, 256, false)                                             \
	ROW(KEEPALIVE_MS, 11, FIELD_IS_U32, 4, false)                                              \
	ROW(MECHANISM, 12, FIELD_IS_TEXT, 32, false)                                               \
	ROW(SASL, 13, FIELD_IS_BYTES, 2048, false)                                                 \
	ROW(TENANT, 14, FIELD_IS_TEXT, 256, false)                                                 \
	ROW(ADDRESS, 15, FIELD_IS_TEXT, 300, true)                                                 \
	ROW(WINDOW, 16, FIELD_IS_U64, 8, false)                                                    \
	ROW(CODE, 17, FIELD_IS_U16, 2, false)                                                      \
	ROW(TEXT, 18, FIELD_IS_TEXT, 1024, false)                                                  \
	ROW(RETRY_AFTER_MS, 19, FIELD_IS_U32, 4, false)                                            \
	ROW(DEADLINE_MS, 20, FIELD_IS_U32, 4, false)                                               \
	ROW(DIRECTION, 21, FIELD_IS_U8, 1, false)                                                  \
	ROW(REMAINING, 22, FIELD_IS_U64, 8, false)                                                 \
	ROW(LIMIT, 23, FIELD_IS_U64, 8, false)                                                     \
	ROW(TOPIC, 24, FIELD_IS_TEXT, 256, false)                                                  \
	ROW(PARTITIONS, 25, FIELD_IS_U32, 4, false)                                                \
	ROW(DURABILITY, 26, FIELD_IS_U8, 1, false)                                                 \
	ROW(NATIVE, 27, FIELD_IS_U8, 1, false)                                                     \
	ROW(GROUP, 28, FIELD_IS_TEXT, 256, false)                                                  \
	ROW(VISIBILITY_MS, 29, FIELD_IS_U32, 4, false)                                             \
	ROW(MAX_ATTEMPTS, 30, FIELD_IS_U32, 4, false)                                              \
	ROW(DEAD_LETTER, 31, FIELD_IS_TEXT, 256, false)                                            \
	ROW(UNIT, 32, FIELD_IS_U8, 1, false)                                                       \
	ROW(SESSION, 33, FIELD_IS_U64, 8, false)                                                   \
	ROW(TOPIC_OF_GROUP, 34, FIELD_IS_TEXT, 256, false)

#define FIELD_ENUM(name, tag, type, max, repeats) FIELD_##name = tag,
enum field_tag { FIELD_TABLE(FIELD_ENUM) FIELD_TAG_END };
#undef FIELD_ENUM

#define FIELD_CRITICAL 0x8000

// ---- writing, into a buffer of the caller's that is large enough or else marks the writer as full

struct field_writer {
	uint8_t *data;
	size_t size, room;
	bool full;
};

void field_writer_init(struct field_writer *writer, void *room, size_t size);
void field_put_bytes(struct field_writer *writer, enum field_tag tag, const void *bytes,
		     size_t size);
void field_put_text(struct field_writer *writer, enum field_tag tag,
		    const char *text); // NULL: not written
void field_put_int(struct field_writer *writer, enum field_tag tag,
		   uint64_t value); // in the tag's own width

// ---- reading

struct fields {
	struct slice values[FIELD_TAG_END]; // first of each tag; data NULL: absent
	const uint8_t *payload;
	size_t size;
	uint16_t refused_tag; // set when fields_read() fails; 0: it was not about one tag
};

// Checks every field: sizes add up, known ones have their width, texts are UTF-8 without zero, only
// lists repeat. Keeps slices of `payload`. NULL: fine; else what is wrong, and of *ret only
// refused_tag is set.
const char *fields_read(const void *payload, size_t size, struct fields *ret);

bool fields_has(const struct fields *fields, enum field_tag tag);
uint64_t fields_int(const struct fields *fields, enum field_tag tag, uint64_t otherwise);
// Copies a text with a terminating zero; "" when absent; cut if `size` is too small.
const char *fields_text(const struct fields *fields, enum field_tag tag, char *room, size_t size);
// The values of a list in order: start with *cursor = 0; false at the end.
bool fields_next(const struct fields *fields, enum field_tag tag, size_t *cursor,
		 struct slice *ret);
