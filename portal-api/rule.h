// What a JSON object of a request may hold: rows, checked in one place.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rule_type { RULE_TEXT, RULE_INTEGER, RULE_BOOLEAN, RULE_ENUM, RULE_OBJECT, RULE_ARRAY };

// ANY: of a text, control characters too (JSON itself has no NUL here).
enum { RULE_REQUIRED = 1, RULE_NULL = 2, RULE_ANY = 4 };

struct rule {
	const char *name; // NULL: the end of the rows
	enum rule_type type;
	unsigned flags;
	int64_t min, max;          // of an integer; characters of a text; items of an array
	const char *const *values; // of an enum; ends in NULL
	const struct rule *rules;  // of an object, or of the objects in an array
};

// Adds {field, detail} to `errors` for each fault; a field is named by its JSON pointer.
// @return whether there was none.
bool rule_check(const struct rule *rules, const json_t *object, json_t *errors);

// "must be one of a, b, c"; `values` ends in NULL.
void rule_list(const char *const *values, char *out, size_t size);

size_t rule_characters(const char *text); // of UTF-8

void rule_fault(json_t *errors, const char *field, const char *detail);
