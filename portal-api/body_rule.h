// What a JSON object of a request may hold: rows, checked in one place.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum body_rule_type {
	BODY_RULE_TEXT,
	BODY_RULE_INTEGER,
	BODY_RULE_BOOLEAN,
	BODY_RULE_ENUM,
	BODY_RULE_OBJECT,
	BODY_RULE_ARRAY
};

// ANY: of a text, control characters too (JSON itself has no NUL here).
enum { BODY_RULE_REQUIRED = 1, BODY_RULE_NULL = 2, BODY_RULE_ANY = 4 };

struct body_rule {
	const char *name; // NULL: the end of the rows
	enum body_rule_type type;
	unsigned flags;
	int64_t min, max;              // of an integer; characters of a text; items of an array
	const char *const *values;     // of an enum; ends in NULL
	const struct body_rule *rules; // of an object, or of the objects in an array
};

// Adds {field, detail} to `errors` for each fault; a field is named by its JSON pointer.
// @return whether there was none.
bool body_rule_check(const struct body_rule *rules, const json_t *object, json_t *errors);

// "must be one of a, b, c"; `values` ends in NULL.
void body_rule_list(const char *const *values, char *out, size_t size);

size_t body_rule_characters(const char *text); // of UTF-8

void body_rule_fault(json_t *errors, const char *field, const char *detail);
