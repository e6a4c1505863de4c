// printf into an allocated text, which the caller frees.
//
// It is used at start and reload, for a few sentences. When there is no memory for a sentence, the
// process cannot go on, so it aborts rather than return an error.

#include "core/base/text.h"

#include <stdarg.h>
#include <stdio.h>

char *text_format(const char *fmt, ...)
{
	char *text;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	return text;
}
