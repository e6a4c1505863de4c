// Problems are found at start and reload, a few at most: without memory for a sentence there is
// nothing left to do.

#include "core/base/problem.h"

#include <stdarg.h>
#include <stdio.h>

char *problem(const char *fmt, ...)
{
	char *text;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	return text;
}
