// Base64 of RFC 4648, section 5, without padding, for tokens and keys.
//
// Three bytes become four digits; a remainder of one or two bytes becomes two or three digits.
// Decoding is strict: unused bits must be zero, so each sequence of bytes has exactly one text. The
// caller provides the room.

#include "core/base/base64url.h"

#include "core/base/util.h"

#include <errno.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_encode(const void *bytes, size_t size, char *out)
{
	const uint8_t *in = bytes;
	uint32_t bits = 0;
	unsigned held = 0;

	for (size_t i = 0; i < size; ++i) {
		bits = bits << 8 | in[i];
		for (held += 8; held >= 6; held -= 6)
			*out++ = digits[bits >> (held - 6) & 63];
	}
	if (held)
		*out++ = digits[bits << (6 - held) & 63];
	*out = '\0';
}

int base64url_decode(const char *text, size_t size, void *out, size_t *ret_size)
{
	uint8_t *at = out;
	uint32_t bits = 0;
	unsigned held = 0;

	if (size % 4 == 1)
		return -EINVAL;
	for (size_t i = 0; i < size; ++i) {
		const char *digit = text[i] ? strchr(digits, text[i]) : NULL;

		if (!digit)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(digit - digits);
		held += 6;
		if (held >= 8) {
			held -= 8;
			*at++ = (uint8_t)(bits >> held);
		}
	}
	if (bits & ((1u << held) - 1))
		return -EINVAL; // two texts must not mean the same bytes
	*ret_size = (size_t)(at - (uint8_t *)out);
	return 0;
}
