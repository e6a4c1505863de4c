// How every part of mqpaasctl reports a failure: one line to standard error, and the exit status as
// the result.
//
// What comes from the server is made visible first, so that it cannot control the terminal.

#include "ctl/ctl.h"

#include "core/base/util.h"
#include "ctl/output.h"

#include <stdarg.h>
#include <stdio.h>

int ctl_fail(int status, const char *fmt, ...)
{
	_cleanup_(freep) char *text = NULL;
	va_list args;

	fputs("mqpaasctl: ", stderr);
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	output_visible(stderr, text ? text : fmt);
	fputc('\n', stderr);
	return status;
}
