// Text made of a format.
//
// Functions that read what an operator wrote return such a text when something is wrong: a sentence
// that says what, where, and what would be right. NULL means that all is well.
#pragma once

#include "core/base/util.h"

// malloc'ed; never NULL: without memory it aborts.
char *text_format(const char *fmt, ...) PRINTF_LIKE(1, 2);
