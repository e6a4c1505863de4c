// adapters/log/window_text: commit metadata as another client may have written it. What is accepted
// must be a sound window that says the same when it is written again.
//
// An input that begins with "mqw2" is taken as it is; any other becomes bytes under a right
// checksum, so that the parts behind it are reached.

#include "adapters/log/window_text.h"
#include "core/base/crc32c.h"
#include "tests/fuzz/fuzz.h"

#define BASE 1000u

static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+="
			       "^!/*?&<>()[]{}@%$#";

static char *text_of(const uint8_t *data, size_t size)
{
	size_t padded = (size + 4 + 3) / 4 * 4;
	uint8_t *bytes = calloc(1, padded);
	char *text = malloc(4 + padded / 4 * 5 + 1), *out = text + 4;

	assert(bytes && text);
	if (size)
		memcpy(bytes + 4, data, size);
	le32_put(bytes, crc32c(0, bytes + 4, padded - 4));
	memcpy(text, "mqw2", 4);
	for (size_t i = 0; i < padded; i += 4, out += 5) {
		uint32_t word = __builtin_bswap32(le32_get(bytes + i));

		for (int digit = 4; digit >= 0; --digit, word /= 85)
			out[digit] = alphabet[word % 85];
	}
	*out = '\0';
	free(bytes);
	return text;
}

static void check_sound(const struct window *window)
{
	uint32_t counts[WINDOW_WAITING + 1] = {0};

	assert(window->count <= WINDOW_POSITIONS && window->mark_count <= WINDOW_MARKS);
	for (uint64_t offset = window->base; offset < window_next(window); ++offset)
		++counts[window_state_at(window, offset)];
	assert(counts[WINDOW_FLIGHT] == 0 && counts[WINDOW_OPEN] == window->open &&
	       counts[WINDOW_WAITING] == window->waiting);
	assert(window->count == 0 || window_state_at(window, window->base) != WINDOW_DONE);
}

static void check_same(const struct window *window, uint64_t epoch)
{
	char *text = window_text_encode(window, epoch, window->written_ms);
	uint64_t epoch_back;
	struct window back;

	assert(text && strlen(text) <= WINDOW_TEXT);
	window_init(&back, window->base);
	assert(window_text_decode(&back, text, &epoch_back) == 0 && epoch_back == epoch);
	for (uint64_t offset = window->base; offset < window_next(&back); ++offset)
		assert(window_state_at(&back, offset) == window_state_at(window, offset));
	for (uint64_t offset = window_next(&back); offset < window_next(window); ++offset)
		assert(window_state_at(window, offset) == WINDOW_OPEN);
	assert(back.mark_count == window->mark_count);
	window_deinit(&back);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool plain = size >= 4 && memcmp(data, "mqw2", 4) == 0 && !memchr(data, 0, size);
	char *text = plain ? strndup((const char *)data, size) : text_of(data, size);
	struct window window;
	uint64_t epoch;

	assert(text);
	window_init(&window, BASE);
	if (window_text_decode(&window, text, &epoch) == 0) {
		check_sound(&window);
		check_same(&window, epoch);
	} else {
		assert(window_next(&window) == BASE);
	}
	window_deinit(&window);
	free(text);
	return 0;
}
