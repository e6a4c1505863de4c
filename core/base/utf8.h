// Is this text? UTF-8 as RFC 3629: shortest forms only, no surrogates, nothing above U+10FFFF.
#pragma once

#include <stdbool.h>
#include <stddef.h>

bool utf8_valid(const void *text, size_t size); // a zero byte is not text here
