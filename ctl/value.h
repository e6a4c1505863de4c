// Turns the text of an option into a JSON value, with the units people write.
#pragma once

#include <jansson.h>

enum value_kind {
	VALUE_TEXT,
	VALUE_COUNT,    // 100, 10k, 2M
	VALUE_DURATION, // 500ms, 30s, 5m, 12h, 7d; milliseconds in JSON
	VALUE_SIZE,     // 100, 64KiB, 1GiB (also KB = 1000); bytes in JSON
	VALUE_FLAG,     // true, false
	VALUE_LIST,     // comma separated texts
	VALUE_JSON,     // anything
};

// "unlimited" is JSON null for counts, durations and sizes. NULL with *ret_problem (static text:
// what would be right) when the text is none.
json_t *value_parse(enum value_kind kind, const char *text, const char **ret_problem);
