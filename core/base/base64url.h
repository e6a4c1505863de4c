// Base 64 with the alphabet for addresses and file names, without padding (RFC 4648, section 5).
#pragma once

#include <stddef.h>

#define BASE64URL_SIZE(bytes) (((bytes) * 4 + 2) / 3 + 1) // with the closing zero

void base64url_encode(const void *bytes, size_t size, char *out);
// `out` has room for 3/4 of the text. -EINVAL: not such a text.
int base64url_decode(const char *text, size_t size, void *out, size_t *ret_size);
