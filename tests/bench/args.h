// Arguments NAME=VALUE of the load programs, and how they end.
#pragma once

#include <stdint.h>

struct args {
	int count;
	char **values;
};

// NULL, or `otherwise`: not given.
const char *args_text(const struct args *args, const char *name, const char *otherwise);
uint64_t args_number(const struct args *args, const char *name, uint64_t otherwise);

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
