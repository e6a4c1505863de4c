// Output for a terminal (tables, aligned by the width of what is shown) and for programs (JSON,
// YAML).
//
// YAML is written in the subset that every parser reads the same way: strings are always
// double-quoted, as in JSON. Texts of the server are made visible in every format, so that none can
// control a terminal. It uses no colours.

#include "ctl/output.h"

#include "core/base/util.h"
#include "core/base/visible.h"

#include <stdio.h>
#include <utf8proc.h>

#define COLUMNS_MAX 16

size_t output_width(const char *text)
{
	const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
	utf8proc_int32_t character;
	size_t width = 0;

	while (*at) {
		utf8proc_ssize_t size = utf8proc_iterate(at, -1, &character);

		width += size > 0 ? (size_t)utf8proc_charwidth(character) : 1;
		at += size > 0 ? size : 1;
	}
	return width;
}

void output_visible(FILE *stream, const char *text)
{
	_cleanup_(freep) char *shown = visible_text(text, strlen(text));

	fputs(shown ? shown : "?", stream);
}

void output_json(const json_t *value, size_t flags)
{
	_cleanup_(freep) char *text = json_dumps(value, flags | JSON_ENCODE_ANY);
	_cleanup_(freep) char *shown = text ? visible_json(text) : NULL;

	puts(shown ? shown : "null");
}

static const json_t *path_get(const json_t *row, const char *path)
{
	char name[64];

	while (row && *path) {
		size_t size = strcspn(path, ".");

		snprintf(name, sizeof name, "%.*s", (int)size, path);
		row = json_object_get(row, name);
		path += size + (path[size] == '.');
	}
	return row;
}

static char *cell_text(const json_t *value)
{
	_cleanup_(freep) char *text = NULL;

	if (!value || json_is_null(value))
		return strdup("-");
	if (json_is_string(value))
		return visible_text(json_string_value(value), json_string_length(value));
	text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	return text ? visible_json(text) : strdup("?");
}

static void print_padded(const char *text, size_t width, bool last)
{
	fputs(text, stdout);
	if (last)
		putchar('\n');
	else
		for (size_t at = output_width(text); at < width + 2; ++at)
			putchar(' ');
}

static void heading_of(const char *column, char *heading, size_t size)
{
	const char *dot = strrchr(column, '.');

	snprintf(heading, size, "%s", dot ? dot + 1 : column);
	for (char *at = heading; *at; ++at)
		if (*at >= 'a' && *at <= 'z')
			*at = (char)(*at - 'a' + 'A');
}

static size_t columns_split(char *text, const char **columns)
{
	size_t count = 0;
	char *save = NULL;

	for (char *name = strtok_r(text, ",", &save); name && count < COLUMNS_MAX;
	     name = strtok_r(NULL, ",", &save))
		columns[count++] = name;
	return count;
}

static size_t columns_of_row(const json_t *row, const char **columns)
{
	size_t count = 0;
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)row, name,
			    value) if (count < COLUMNS_MAX && !json_is_object(value) &&
				       !json_is_array(value)) columns[count++] = name;
	return count;
}

static size_t column_width(const json_t *rows, const char *column)
{
	char heading[64];
	const json_t *row;
	size_t width, i;

	heading_of(column, heading, sizeof heading);
	width = strlen(heading);
	json_array_foreach(rows, i, row)
	{
		_cleanup_(freep) char *text = cell_text(path_get(row, column));

		width = MAX(width, output_width(text));
	}
	return width;
}

static void table_print(const json_t *rows, const char *columns_text)
{
	_cleanup_(freep) char *copy = columns_text ? strdup(columns_text) : NULL;
	const char *columns[COLUMNS_MAX];
	size_t widths[COLUMNS_MAX], i, count;
	const json_t *row;

	count = copy ? columns_split(copy, columns)
		     : columns_of_row(json_array_get(rows, 0), columns);
	for (size_t c = 0; c < count; ++c)
		widths[c] = column_width(rows, columns[c]);
	for (size_t c = 0; c < count; ++c) {
		char heading[64];

		heading_of(columns[c], heading, sizeof heading);
		print_padded(heading, widths[c], c + 1 == count);
	}
	json_array_foreach(rows, i, row)
	{
		for (size_t c = 0; c < count; ++c) {
			_cleanup_(freep) char *text = cell_text(path_get(row, columns[c]));

			print_padded(text, widths[c], c + 1 == count);
		}
	}
}

// Nested objects are flattened to dotted names; lists of objects follow as tables of their own.
static void members_print(const json_t *object, const char *prefix)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)object, name, value)
	{
		_cleanup_(freep) char *path = NULL;

		_cleanup_(freep) char *shown = visible_text(name, strlen(name));

		if (asprintf(&path, "%s%s%s", prefix, *prefix ? "." : "", shown ? shown : "?") < 0)
			return;
		if (json_is_object(value) && json_object_size(value)) {
			members_print(value, path);
		} else if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
			printf("\n%s:\n", path);
			table_print(value, NULL);
		} else {
			_cleanup_(freep) char *text = cell_text(value);

			print_padded(path, 24, false);
			puts(text);
		}
	}
}

static bool is_nested(const json_t *value)
{
	return (json_is_object(value) && json_object_size(value)) ||
	       (json_is_array(value) && json_array_size(value));
}

// `indented`: the cursor already stands where the first line begins, after "- ".
static void yaml_print(const json_t *value, int depth, bool indented)
{
	const char *name;
	json_t *member;
	size_t i;

	if (!is_nested(value)) {
		output_json(value, JSON_COMPACT);
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, member)
		{
			printf("%*s- ", indented && i == 0 ? 0 : 2 * depth, "");
			yaml_print(member, depth + 1, true);
		}
	} else {
		json_object_foreach((json_t *)value, name, member)
		{
			json_t *key = json_string(name);
			_cleanup_(freep) char *text = json_dumps(key, JSON_ENCODE_ANY);
			_cleanup_(freep) char *shown = text ? visible_json(text) : NULL;

			json_decref(key);
			printf("%*s%s:%s", indented ? 0 : 2 * depth, "", shown ? shown : "\"?\"",
			       is_nested(member) ? "\n" : " ");
			indented = false;
			yaml_print(member, depth + 1, false);
		}
	}
}

void output_print(const json_t *answer, enum output_format format, const char *columns)
{
	const json_t *items = json_object_get(answer, "items");

	if (format == OUTPUT_JSON)
		output_json(answer, JSON_INDENT(2));
	else if (format == OUTPUT_YAML)
		yaml_print(answer, 0, false);
	else if (items)
		table_print(items, columns);
	else
		members_print(answer, "");
}
