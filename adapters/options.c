// Options of a cluster, from its JSON to a structure of its kind.
//
// A kind has one table, with a row for each option: name, type, limits, default, and where it lies
// in the structure. What is secret is read from the cluster's secrets. An unknown option is refused
// by name, so that a mistyped one is not a default.
//
// What it does not do: check options against each other or against the cluster; the kind does.

#include "adapters/options.h"

#include "core/base/util.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *member_name(bool secret)
{
	return secret ? "secrets" : "options";
}

int options_refuse(char **ret_error, bool secret, const char *name, const char *what)
{
	return asprintf(ret_error, "%s.%s: %s", member_name(secret), name, what) < 0 ? -ENOMEM
										     : -EINVAL;
}

// Which of the values it is; -1: none of them.
static int value_index(const char *text, const char *values)
{
	size_t size = strlen(text);
	int index = 0;

	for (const char *at = values; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
		if (strncmp(at, text, size) == 0 && (at[size] == '|' || at[size] == '\0'))
			return index;
		++index;
	}
	return -1;
}

static void *member_at(void *options, const struct option *row)
{
	return (char *)options + row->offset;
}

static int text_set(void *options, const struct option *row, const char *text, char **ret_error)
{
	int index = row->values ? value_index(text, row->values) : 0;
	char what[160], **room = member_at(options, row);

	if (index < 0) {
		snprintf(what, sizeof what, "not one of %s", row->values);
		return options_refuse(ret_error, row->secret, row->name, what);
	}
	if (row->type == OPTION_CHOICE) {
		*(uint8_t *)member_at(options, row) = (uint8_t)index;
		return 0;
	}
	*room = strdup(text);
	return *room ? 0 : -ENOMEM;
}

static void number_store(void *options, const struct option *row, uint64_t number)
{
	if (row->type == OPTION_BYTES)
		*(uint64_t *)member_at(options, row) = number;
	else
		*(uint32_t *)member_at(options, row) = (uint32_t)number;
}

static int number_set(void *options, const struct option *row, json_int_t number, char **ret_error)
{
	char what[96];

	if (number < 0 || (uint64_t)number < row->least || (uint64_t)number > row->most) {
		snprintf(what, sizeof what, "not a whole number from %llu to %llu",
			 (unsigned long long)row->least, (unsigned long long)row->most);
		return options_refuse(ret_error, row->secret, row->name, what);
	}
	number_store(options, row, (uint64_t)number);
	return 0;
}

static int value_set(void *options, const struct option *row, const json_t *value, char **ret_error)
{
	switch (row->type) {
	case OPTION_TEXT:
	case OPTION_CHOICE:
		return json_is_string(value)
			       ? text_set(options, row, json_string_value(value), ret_error)
			       : options_refuse(ret_error, row->secret, row->name, "not a text");
	case OPTION_FLAG:
		if (!json_is_boolean(value))
			return options_refuse(ret_error, row->secret, row->name,
					      "neither true nor false");
		*(bool *)member_at(options, row) = json_is_true(value);
		return 0;
	default:
		return json_is_integer(value)
			       ? number_set(options, row, json_integer_value(value), ret_error)
			       : options_refuse(ret_error, row->secret, row->name,
						"not a whole number");
	}
}

static const struct option *row_find(const struct options_table *table, const char *name,
				     bool secret)
{
	for (size_t i = 0; i < table->count; ++i)
		if (table->rows[i].secret == secret && strcmp(table->rows[i].name, name) == 0)
			return &table->rows[i];
	return NULL;
}

// Says of a name that this object has no row for what is wrong with it.
static int name_refuse(const struct options_table *table, const char *name, bool secret,
		       char **ret_error)
{
	char what[96];

	snprintf(what, sizeof what, "the kind %s does not know it", table->kind);
	if (row_find(table, name, !secret))
		snprintf(what, sizeof what, "%s",
			 secret ? "belongs into options"
				: "belongs into secrets, which are encrypted");
	return options_refuse(ret_error, secret, name, what);
}

static int object_read(const struct options_table *table, void *options, const char *text,
		       bool secret, char **ret_error)
{
	json_t *object = json_loads(text && *text ? text : "{}", JSON_REJECT_DUPLICATES, NULL),
	       *value;
	const char *name;
	int r = 0;

	if (!json_is_object(object)) {
		json_decref(object);
		return asprintf(ret_error, "%s: not a JSON object", member_name(secret)) < 0
			       ? -ENOMEM
			       : -EINVAL;
	}
	json_object_foreach(object, name, value)
	{
		const struct option *row = row_find(table, name, secret);

		r = row ? value_set(options, row, value, ret_error)
			: name_refuse(table, name, secret, ret_error);
		if (r < 0)
			break;
	}
	json_decref(object);
	return r;
}

int options_read(const struct options_table *table, const struct cluster *cluster, void *ret,
		 char **ret_error)
{
	int r;

	memset(ret, 0, table->size);
	for (size_t i = 0; i < table->count; ++i)
		if (table->rows[i].type == OPTION_NUMBER || table->rows[i].type == OPTION_BYTES)
			number_store(ret, &table->rows[i], table->rows[i].otherwise);
	r = object_read(table, ret, cluster->options_json, false, ret_error);
	if (r == 0)
		r = object_read(table, ret, cluster->secrets_json, true, ret_error);
	if (r < 0)
		options_deinit(table, ret);
	return r;
}

void options_deinit(const struct options_table *table, void *options)
{
	for (size_t i = 0; i < table->count; ++i)
		if (table->rows[i].type == OPTION_TEXT)
			free(*(char **)member_at(options, &table->rows[i]));
	memset(options, 0, table->size);
}
