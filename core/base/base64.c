// Base64 of RFC 4648, section 4, for JSON.
//
// Decoding is strict: whole groups of four digits, padding only at the end, unused bits zero. So
// each sequence of bytes has exactly one text. It skips no white space or line breaks.

#include "core/base/base64.h"

#include "core/base/util.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	char *text = malloc((size + 2) / 3 * 4 + 1), *to = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < size; i += 3, to += 4) {
		uint32_t group = (uint32_t)at[i] << 16 |
				 (uint32_t)(i + 1 < size ? at[i + 1] : 0) << 8 |
				 (i + 2 < size ? at[i + 2] : 0);

		to[0] = alphabet[group >> 18];
		to[1] = alphabet[group >> 12 & 63];
		to[2] = i + 1 < size ? alphabet[group >> 6 & 63] : '=';
		to[3] = i + 2 < size ? alphabet[group & 63] : '=';
	}
	*to = '\0';
	return text;
}

static int digit_of(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

// The caller frees the bytes. NULL also for a text that is not base64; unused bits of the last
// group must be zero.
void *base64_decode(const char *text, size_t *ret_size)
{
	size_t size = strlen(text), padding = 0, used = 0;
	uint8_t *bytes = size % 4 == 0 ? malloc(size / 4 * 3 + 1) : NULL;

	if (!bytes)
		return NULL;
	while (padding < 2 && padding < size && text[size - 1 - padding] == '=')
		++padding;
	for (size_t i = 0; i < size; i += 4) {
		uint32_t group = 0;
		size_t digits = i + 4 == size ? 4 - padding : 4;

		for (size_t j = 0; j < 4; ++j) {
			int digit = j < digits ? digit_of(text[i + j]) : 0;

			if (digit < 0) {
				free(bytes);
				return NULL;
			}
			group = group << 6 | (uint32_t)digit;
		}
		for (size_t j = 0; j < digits - 1; ++j)
			bytes[used++] = (uint8_t)(group >> (16 - 8 * j));
		if ((digits == 3 && group & 0xff) || (digits == 2 && group & 0xffff)) {
			free(bytes);
			return NULL;
		}
	}
	*ret_size = used;
	return bytes;
}
