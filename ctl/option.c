// Options of the command line, by tables: parsing them into a JSON object, and their help.
//
// Options are looked up in every table given, so a command has its own beside the global ones. A
// dot in an option's member makes a nested object. Not here: the values' formats (value.c).

#include "ctl/option.h"

#include "core/base/util.h"
#include "ctl/ctl.h"

#include <stdio.h>

static const struct option *option_find(const struct option *const *tables, const char *name,
					size_t size)
{
	for (; *tables; ++tables)
		for (const struct option *option = *tables; option->name; ++option)
			if (strlen(option->name) == size && strncmp(option->name, name, size) == 0)
				return option;
	return NULL;
}

int option_width(const struct option *const *tables, const char *argument)
{
	const struct option *option;

	if (strcmp(argument, "-o") == 0)
		return 2;
	if (strncmp(argument, "--", 2) != 0 || strchr(argument, '='))
		return 1;
	option = option_find(tables, argument + 2, strlen(argument + 2));
	return option && option->kind != VALUE_FLAG ? 2 : 1;
}

void option_set_path(json_t *object, const char *path, json_t *value)
{
	const char *dot = strchr(path, '.');
	char name[64];
	json_t *inner;

	if (!dot) {
		json_object_set_new(object, path, value);
		return;
	}
	snprintf(name, sizeof name, "%.*s", (int)(dot - path), path);
	inner = json_object_get(object, name);
	if (!inner) {
		inner = json_object();
		json_object_set_new(object, name, inner);
	}
	option_set_path(inner, dot + 1, value);
}

const json_t *option_get_path(const json_t *object, const char *path)
{
	char name[64];

	while (object && *path) {
		size_t size = strcspn(path, ".");

		snprintf(name, sizeof name, "%.*s", (int)size, path);
		object = json_object_get(object, name);
		path += size + (path[size] == '.');
	}
	return object;
}

// Takes one option from argv[at]; returns how many arguments it used, or a negative exit status.
static int option_take(const struct option *const *tables, int argc, char **argv, int at,
		       json_t *values)
{
	const char *name = argv[at] + 2, *equals = strchr(name, '='), *text, *problem;
	const struct option *option =
		option_find(tables, name, equals ? (size_t)(equals - name) : strlen(name));
	int used = 1;
	json_t *value;

	if (!option)
		return -ctl_fail(CTL_USAGE,
				 "%s is not an option here; --help lists those there are",
				 argv[at]);
	if (equals) {
		text = equals + 1;
	} else if (option->kind == VALUE_FLAG) {
		text = "true";
	} else if (at + 1 < argc) {
		text = argv[at + 1];
		used = 2;
	} else {
		return -ctl_fail(CTL_USAGE, "--%s needs a value: %s", option->name,
				 option->sentence);
	}
	value = value_parse(option->kind, text, &problem);
	if (!value)
		return -ctl_fail(CTL_USAGE, "--%s \"%s\": not %s", option->name, text, problem);
	option_set_path(values, option->member, value);
	return used;
}

int option_parse(const struct option *const *tables, int argc, char **argv, json_t *values,
		 const char **arguments, size_t room, size_t *ret_count)
{
	static char long_output[] = "--output", long_help[] = "--help";
	bool ended = false;
	size_t count = 0;

	for (int at = 0; at < argc;) {
		if (!ended && strcmp(argv[at], "--") == 0) {
			ended = true;
			++at;
		} else if (!ended && strcmp(argv[at], "-o") == 0) {
			argv[at] = long_output;
		} else if (!ended && strcmp(argv[at], "-h") == 0) {
			argv[at] = long_help;
		} else if (!ended && strncmp(argv[at], "--", 2) == 0) {
			int used = option_take(tables, argc, argv, at, values);

			if (used < 0)
				return -used;
			at += used;
		} else if (count < room) {
			arguments[count++] = argv[at++];
		} else {
			return ctl_fail(CTL_USAGE, "too many arguments, from \"%s\" on", argv[at]);
		}
	}
	*ret_count = count;
	return 0;
}

void option_help(const struct option *table)
{
	for (; table->name; ++table)
		printf("  --%-24s %s\n", table->name, table->sentence);
}
