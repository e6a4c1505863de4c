// Settings as a table: from its rows come the configuration file, command-line options, --help,
// reload and the generated page.
//
// A file has a line `name = value` a setting; # begins a comment; a value may stand in double
// quotes, with \" and \\ inside. There are no sections: the names are few, and a line says all
// there is to know. A list is a line an item. On the command line the same names are options.
#pragma once

#include "core/base/units.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum setting_type {
	SETTING_TEXT,
	SETTING_LIST, // of texts
	SETTING_CHOICE,
	SETTING_FLAG, // yes or no
	SETTING_COUNT,
	SETTING_DURATION, // milliseconds
	SETTING_SIZE,     // bytes
};

struct setting {
	const char *name;
	enum setting_type type;
	const char *standard; // default as text; NULL: not set
	uint64_t min, max;    // of numbers
	const char *choices;  // "a|b|c"
	bool reload;          // changes take effect on reload
	const char *sentence;
};

struct settings;

int settings_new(const struct setting *table, size_t count,
		 struct settings **ret); // all at their defaults; the table is borrowed
void settings_free(struct settings *settings);

// What is wrong, where (file:line:column) and what would be right, as core/base/text.h says;
// NULL: fine.
char *settings_read_file(struct settings *settings, const char *path);
// The same from a stream; `path` is what problems call it.
char *settings_read(struct settings *settings, FILE *file, const char *path);
// An option wins over every file. `name` without dashes.
char *settings_set_option(struct settings *settings, const char *name, const char *value);
bool settings_is_flag(const struct settings *settings, const char *name);

const char *settings_text(const struct settings *settings, size_t index); // NULL: not set
uint64_t settings_number(const struct settings *settings, size_t index);
bool settings_flag(const struct settings *settings, size_t index);
size_t settings_list(const struct settings *settings, size_t index, const char *const **ret);

// Takes from `next` what may change while running. Calls fn for every setting that differs: taken,
// or kept as it was until the next start.
typedef void (*settings_change_fn)(void *ctx, const struct setting *setting, bool taken);
void settings_adopt(struct settings *now, struct settings *next, settings_change_fn fn, void *ctx);

void settings_print_help(const struct settings *settings, FILE *file);
void settings_print_page(const struct settings *settings, FILE *file); // Markdown table rows
