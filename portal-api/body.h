// JSON bodies: limited before they are parsed, then parsed strictly.
#pragma once

#include <jansson.h>
#include <stddef.h>

struct body_limits {
	size_t tokens; // values and names
	unsigned depth;
};

extern const struct body_limits body_limits_default; // 8,192 tokens, 16 deep

// Counts without building anything. 0, or -E2BIG: over a limit; -EINVAL: not JSON. `ret_why` says
// which. What passes may still be refused by body_parse().
int body_check(const char *text, size_t size, const struct body_limits *limits,
	       const char **ret_why);

// An object, without duplicate names. Errors as above; `why` says what and where.
enum { BODY_WHY_SIZE = 200 };
int body_parse(const char *text, size_t size, const struct body_limits *limits, json_t **ret,
	       char why[BODY_WHY_SIZE]);
