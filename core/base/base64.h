// Base64 (RFC 4648 section 4, with padding), for bytes in JSON.
#pragma once

#include <stddef.h>

char *base64_encode(const void *bytes, size_t size); // malloc'ed text; NULL: no memory
void *base64_decode(const char *text,
		    size_t *ret_size); // malloc'ed bytes; NULL: not base64, or no memory
