// Characters that a reader does not see as themselves: controls, line separators, what changes the
// direction of writing, and what takes no room. Names must not have them; a terminal is not given
// them raw, because some are orders to it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool visible_hides(uint32_t character);        // all of them
bool visible_is_invisible(uint32_t character); // without the controls and line separators

// A copy (malloc'ed; NULL: no memory) in which each of them, and each byte that is no UTF-8, is
// written as an escape: \n, \x1b, \u202e.
char *visible_text(const char *text, size_t size);

// The same for a JSON document, which stays one: they can occur in its strings only, where the
// escape means the character. Line feeds between its parts stay.
char *visible_json(const char *json);
