// Numbers as people write them: 10k, 30s, 64KiB.
#pragma once

#include <stdint.h>

enum units {
	UNITS_COUNT,    // 100, 10k, 2M, 1G
	UNITS_DURATION, // 500ms, 30s, 5m, 12h, 7d; plain numbers and the result are milliseconds
	UNITS_SIZE,     // 100, 64KiB, 1GiB; KB, MB, GB, TB count in thousands
};

// -EINVAL: not such a number, or above 2^63 - 1: it is refused, never rounded.
int units_parse(enum units units, const char *text, uint64_t *ret);
// With the largest unit that leaves nothing over: 90000 ms is "90s", 3600000 "1h".
#define UNITS_TEXT_MAX 32
void units_format(enum units units, uint64_t value, char room[UNITS_TEXT_MAX]);
const char *units_example(enum units units); // "a whole number such as 100, 10k or 2M"
