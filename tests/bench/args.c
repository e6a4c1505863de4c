// A program of this folder is told everything as NAME=VALUE and dies at the first thing that is not
// as it should be: a measurement that went wrong must not give a figure.

#include "tests/bench/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *args_text(const struct args *args, const char *name, const char *otherwise)
{
	size_t size = strlen(name);

	for (int i = 1; i < args->count; ++i)
		if (strncmp(args->values[i], name, size) == 0 && args->values[i][size] == '=')
			return args->values[i] + size + 1;
	return otherwise;
}

uint64_t args_number(const struct args *args, const char *name, uint64_t otherwise)
{
	const char *text = args_text(args, name, NULL);
	char *end;
	uint64_t value;

	if (!text)
		return otherwise;
	value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end)
		die("%s=%s is not a number", name, text);
	return value;
}

_Noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}
