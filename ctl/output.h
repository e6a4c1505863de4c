// Prints an answer as a table, JSON or YAML.
#pragma once

#include "ctl/ctl.h"

#include <stdio.h>

// `columns`: comma separated paths into each row ("limits.produce_tps"); NULL: every plain member.
// A list answer
// ({"items": […]}) gives a row an item, any other object a name–value list.
void output_print(const json_t *answer, enum output_format format, const char *columns);

// JSON with a line feed behind it. What a reader would not see stands as an escape, here and in
// everything that is printed: names and bodies are others' and may be orders to a terminal.
void output_json(const json_t *value, size_t flags);
void output_visible(FILE *stream, const char *text);

size_t output_width(const char *text); // columns that a terminal needs for UTF-8 text (wide
				       // characters take two)
