// Numbers with units: counts (10k), durations in milliseconds (30s), sizes in bytes (64KiB).
//
// One table of factors for each kind serves parsing and printing. Parsing takes whole numbers only
// and refuses what exceeds INT64_MAX. Printing chooses the largest unit that divides the value, so
// no digits are lost.

#include "core/base/units.h"

#include "core/base/util.h"

#include <errno.h>
#include <stdio.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit counts[] = {
	{"", 1}, {"k", 1000}, {"M", 1000000}, {"G", 1000000000}, {NULL, 0}};
static const struct unit durations[] = {{"", 1},        {"ms", 1},       {"s", 1000}, {"m", 60000},
					{"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit sizes[] = {{"", 1},
				    {"B", 1},
				    {"KiB", 1ull << 10},
				    {"MiB", 1ull << 20},
				    {"GiB", 1ull << 30},
				    {"TiB", 1ull << 40},
				    {"KB", 1000},
				    {"MB", 1000000},
				    {"GB", 1000000000},
				    {"TB", 1000000000000},
				    {NULL, 0}};
static const struct unit *const kinds[] = {
	[UNITS_COUNT] = counts, [UNITS_DURATION] = durations, [UNITS_SIZE] = sizes};

int units_parse(enum units units, const char *text, uint64_t *ret)
{
	unsigned long long number, value;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	for (const struct unit *unit = kinds[units]; !errno && unit->name; ++unit) {
		if (strcmp(end, unit->name) != 0)
			continue;
		if (__builtin_mul_overflow(number, unit->factor, &value) || value > INT64_MAX)
			return -EINVAL;
		*ret = value;
		return 0;
	}
	return -EINVAL;
}

void units_format(enum units units, uint64_t value, char room[UNITS_TEXT_MAX])
{
	const struct unit *best = kinds[units];

	for (const struct unit *unit = best; unit->name; ++unit)
		if (value && value % unit->factor == 0 && unit->factor >= best->factor)
			best = unit;
	snprintf(room, UNITS_TEXT_MAX, "%llu%s", (unsigned long long)(value / best->factor),
		 best->name);
}

const char *units_example(enum units units)
{
	static const char *const examples[] = {
		[UNITS_COUNT] = "a whole number such as 100, 10k or 2M",
		[UNITS_DURATION] = "a duration such as 500ms, 30s, 5m, 12h or 7d",
		[UNITS_SIZE] = "a size such as 4096, 64KiB or 1GiB",
	};

	return examples[units];
}
