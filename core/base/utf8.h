// Is this text? UTF-8 as RFC 3629: shortest forms only, no surrogates, nothing above U+10FFFF.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes of the character that begins here, which is told; 0: none does.
size_t utf8_next(const void *text, size_t left, uint32_t *ret);

bool utf8_valid(const void *text, size_t size); // a zero byte is not text here
