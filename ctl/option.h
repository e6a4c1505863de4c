// Reads the command line: options from a table, the rest in order.
#pragma once

#include "ctl/value.h"

#include <stdbool.h>
#include <stddef.h>

// One option of a command. `member` is where its value goes in the JSON that the command works
// with, dots for nesting ("limits.produce_tps").
struct option {
	const char *name; // without the dashes
	const char *member;
	enum value_kind kind;
	const char *sentence;
};

// A table of options ends with a row whose name is NULL. A flag may stand without a value (true).

// Sets members of `values` and keeps what is no option in arguments[0 … *ret_count). "--" ends the
// options. 0, or CTL_USAGE after a message that names the option and what would be right.
int option_parse(const struct option *const *tables, int argc, char **argv, json_t *values,
		 const char **arguments, size_t room, size_t *ret_count);

// How many arguments the option takes that `argument` begins (1 or 2), where it is not yet known
// which command it is of.
int option_width(const struct option *const *tables, const char *argument);

void option_set_path(json_t *object, const char *path, json_t *value); // takes over value
const json_t *option_get_path(const json_t *object, const char *path);

void option_help(const struct option *table); // a line each
