// The head of an HTTP/1.1 request: parsed strictly, in place, before anything is believed.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_MAX_BYTES    8192
#define HEAD_MAX_FIELDS   64
#define HEAD_MAX_SEGMENTS 12
#define HEAD_MAX_QUERY    16

struct head_field {
	const char *name; // lower case
	const char *value;
};

struct head {
	const char *method;
	const char
		*segments[HEAD_MAX_SEGMENTS]; // of the path, decoded: valid UTF-8 without controls
	size_t segment_count;
	bool trailing_slash;
	bool asterisk; // "OPTIONS *"
	struct head_field query[HEAD_MAX_QUERY];
	size_t query_count;
	struct head_field fields[HEAD_MAX_FIELDS];
	size_t field_count;
	uint64_t content_length; // 0 when absent
	bool has_content_length;
	bool expect_continue;
};

// Where the head ends (the byte after the empty line); 0: not yet.
size_t head_end(const char *data, size_t size);

// `data` holds the whole head with its empty line; it is changed and must live as long as `ret`.
// 0, or the HTTP status to refuse with; `ret_why` then says what would be right.
int head_parse(char *data, size_t size, struct head *ret, const char **ret_why);

const char *head_field(const struct head *head, const char *name); // NULL: absent
