// Replaces characters that a terminal or page would not show, or that would change how the text
// around them looks.
//
// The table is Unicode's Default_Ignorable_Code_Point, which includes every bidirectional control
// and the code points that are reserved for more of them. It is kept here rather than in a library,
// so that a newer library does not change which names are refused.
//
// Invariant: what is printed for a hidden character is ASCII. Copies are the caller's to free.

#include "core/base/visible.h"

#include "core/base/utf8.h"
#include "core/base/util.h"

#include <stdio.h>

static const struct {
	uint32_t first, last;
} invisible[] = {
	{0x00ad, 0x00ad},   {0x034f, 0x034f}, {0x061c, 0x061c},   {0x115f, 0x1160},
	{0x17b4, 0x17b5},   {0x180b, 0x180f}, {0x200b, 0x200f},   {0x202a, 0x202e},
	{0x2060, 0x206f},   {0x3164, 0x3164}, {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
	{0xffa0, 0xffa0},   {0xfff0, 0xfff8}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
	{0xe0000, 0xe0fff},
};

bool visible_is_invisible(uint32_t character)
{
	for (size_t i = 0; i < ARRAY_SIZE(invisible); ++i)
		if (character >= invisible[i].first && character <= invisible[i].last)
			return true;
	return false;
}

bool visible_hides(uint32_t character)
{
	return character < 0x20 || (character >= 0x7f && character < 0xa0) || character == 0x2028 ||
	       character == 0x2029 || visible_is_invisible(character);
}

static void put_text(FILE *out, uint32_t character)
{
	if (character == '\n')
		fputs("\\n", out);
	else if (character == '\r')
		fputs("\\r", out);
	else if (character == '\t')
		fputs("\\t", out);
	else
		fprintf(out, character < 0x100 ? "\\x%02x" : "\\u%04x", character);
}

// JSON has escapes of 16 bits only: a character above U+FFFF is a pair of surrogates. 0xd7c0 is
// 0xd800 less 0x10000 >> 10.
static void put_json(FILE *out, uint32_t character)
{
	if (character == '\n')
		putc('\n', out);
	else if (character < 0x10000)
		fprintf(out, "\\u%04X", character);
	else
		fprintf(out, "\\u%04X\\u%04X", 0xd7c0 + (character >> 10),
			0xdc00 + (character & 0x3ff));
}

static char *copy_visible(const char *text, size_t size, void (*put)(FILE *out, uint32_t character))
{
	char *copy = NULL;
	size_t copy_size;
	FILE *out = open_memstream(&copy, &copy_size);

	if (!out)
		return NULL;
	while (size) {
		uint32_t character = (uint8_t)*text;
		size_t step = utf8_next(text, size, &character);

		if (step && !visible_hides(character))
			fwrite(text, 1, step, out);
		else
			put(out, character);
		step = MAX(step, 1u);
		text += step;
		size -= step;
	}
	if (fclose(out) == 0)
		return copy;
	free(copy);
	return NULL;
}

char *visible_text(const char *text, size_t size)
{
	return copy_visible(text, size, put_text);
}

char *visible_json(const char *json)
{
	return copy_visible(json, strlen(json), put_json);
}
