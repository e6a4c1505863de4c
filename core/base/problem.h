// What is wrong, for people: a malloc'ed sentence that says what, where, and what would be right.
//
// Functions that read what people wrote return one; NULL means that all is well.
#pragma once

#include "core/base/util.h"

char *problem(const char *fmt, ...) PRINTF_LIKE(1, 2); // never NULL: without memory it aborts
