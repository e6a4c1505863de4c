// Prints an answer as a table, JSON or YAML.
#pragma once

#include "ctl/ctl.h"

// `columns`: comma separated paths into each row ("limits.produce_tps"); NULL: every plain member.
// A list answer
// ({"items": […]}) gives a row an item, any other object a name–value list.
void output_print(const json_t *answer, enum output_format format, const char *columns);

size_t output_width(const char *text); // columns that a terminal needs for UTF-8 text (wide
				       // characters take two)
