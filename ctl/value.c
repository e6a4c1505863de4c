// Values of options: a text becomes the JSON value that the option's kind wants.
//
// Numbers take the units of core/base/units.h; "unlimited" is null. Ranges are not checked here:
// the server knows them and names the member.

#include "ctl/value.h"

#include "core/base/units.h"
#include "core/base/util.h"

#include <stdio.h>

static json_t *number_parse(const char *text, enum units units)
{
	uint64_t number;

	if (strcmp(text, "unlimited") == 0)
		return json_null();
	return units_parse(units, text, &number) == 0 ? json_integer((json_int_t)number) : NULL;
}

static json_t *flag_parse(const char *text)
{
	if (strcmp(text, "true") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "on") == 0)
		return json_true();
	if (strcmp(text, "false") == 0 || strcmp(text, "no") == 0 || strcmp(text, "off") == 0)
		return json_false();
	return NULL;
}

// An empty text is an empty list; empty members are dropped.
static json_t *list_parse(const char *text)
{
	_cleanup_(freep) char *copy = strdup(text);
	json_t *list = json_array();
	char *save = NULL;

	for (char *item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save))
		json_array_append_new(list, json_string(item));
	return list;
}

// "-" and "@FILE" read it from elsewhere: what is secret stands in no process list.
static json_t *json_parse(const char *text)
{
	const size_t flags = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES;

	if (strcmp(text, "-") == 0)
		return json_loadf(stdin, flags, NULL);
	return text[0] == '@' ? json_load_file(text + 1, flags, NULL)
			      : json_loads(text, flags, NULL);
}

json_t *value_parse(enum value_kind kind, const char *text, const char **ret_problem)
{
	static const char *const right[] = {
		[VALUE_TEXT] = "valid UTF-8 text",
		[VALUE_COUNT] = "a whole number such as 100, 10k or 2M, or unlimited",
		[VALUE_DURATION] = "a duration such as 500ms, 30s, 5m, 12h or 7d, or unlimited",
		[VALUE_SIZE] = "a size such as 4096, 64KiB or 1GiB, or unlimited",
		[VALUE_FLAG] = "true or false",
		[VALUE_LIST] = "a comma-separated list of UTF-8 texts",
		[VALUE_JSON] = "JSON, - for standard input or @FILE for a file with it",
	};
	json_t *value = NULL;

	switch (kind) {
	case VALUE_TEXT: value = json_string(text); break;
	case VALUE_COUNT: value = number_parse(text, UNITS_COUNT); break;
	case VALUE_DURATION: value = number_parse(text, UNITS_DURATION); break;
	case VALUE_SIZE: value = number_parse(text, UNITS_SIZE); break;
	case VALUE_FLAG: value = flag_parse(text); break;
	case VALUE_LIST: value = list_parse(text); break;
	case VALUE_JSON: value = json_parse(text); break;
	}
	if (!value)
		*ret_problem = right[kind];
	return value;
}
