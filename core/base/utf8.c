// Checks UTF-8 by the ranges of RFC 3629, section 4, without a table.
//
// Refuses overlong forms, surrogates, characters above U+10FFFF, and the zero byte, because texts
// end with one in C. It knows nothing about which characters are visible (visible.c).

#include "core/base/utf8.h"

#include "core/base/util.h"

// True if all bytes have the form 10xxxxxx.
static bool are_continuations(const uint8_t *at, size_t count)
{
	for (size_t i = 0; i < count; ++i)
		if ((at[i] & 0xc0) != 0x80)
			return false;
	return true;
}

// Bytes of the character that begins at `at`; 0: none does.
static size_t character_size(const uint8_t *at, size_t left)
{
	uint8_t first = at[0];
	size_t size = first < 0x80   ? 1
		      : first < 0xc2 ? 0
		      : first < 0xe0 ? 2
		      : first < 0xf0 ? 3
		      : first < 0xf5 ? 4
				     : 0;

	if (size == 0 || size > left || first == 0 || !are_continuations(at + 1, size - 1))
		return 0;
	if ((first == 0xe0 && at[1] < 0xa0) || (first == 0xed && at[1] > 0x9f) ||
	    (first == 0xf0 && at[1] < 0x90) || (first == 0xf4 && at[1] > 0x8f))
		return 0;
	return size;
}

size_t utf8_next(const void *text, size_t left, uint32_t *ret)
{
	const uint8_t *at = text;
	size_t size = character_size(at, left);
	uint32_t character;

	if (size == 0)
		return 0;
	character = size == 1 ? at[0] : at[0] & (0x7fu >> size);
	for (size_t i = 1; i < size; ++i)
		character = character << 6 | (at[i] & 0x3f);
	*ret = character;
	return size;
}

bool utf8_valid(const void *text, size_t size)
{
	const uint8_t *at = text;

	while (size > 0) {
		size_t step = character_size(at, size);

		if (step == 0)
			return false;
		at += step;
		size -= step;
	}
	return true;
}
