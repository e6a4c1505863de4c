// The commit metadata: "mqp1:EPOCH:RUNS:CRC", numbers in base 36, CRC-32C of all before the last
// colon in eight hexadecimal digits.
//
// RUNS describe the positions above the committed one, in order: A<n>, n done; O<n>, n open without
// an attempt; R<a>.<d>, one open after a attempts and due at d (milliseconds since 1970; 0: now);
// D<d>, one held back for its own due time d. What is open behind the last done or attempted
// position is left out: it is simply read again. ASCII only, because Kafka changes bytes that are
// not UTF-8.
//
// A position in flight counts the attempts that have ended, so a crash may forget the one under way
// and never adds one.

#include "adapters/log/window.h"
#include "core/base/crc32c.h"

#include <errno.h>
#include <stdio.h>

#define MAGIC "mqp1:"

struct text {
	char *data;
	size_t size, room;
	bool failed;
};

static void text_put(struct text *text, char letter, uint64_t number)
{
	char digits[16];
	size_t count = 0;

	if (text->room - text->size < sizeof digits + 2) {
		size_t room = text->room * 2;
		char *grown = text->failed ? NULL : realloc(text->data, room);

		if (!grown) {
			text->failed = true;
			return;
		}
		text->data = grown;
		text->room = room;
	}
	do {
		digits[count++] = "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36];
		number /= 36;
	} while (number);
	text->data[text->size++] = letter;
	while (count)
		text->data[text->size++] = digits[--count];
}

enum run_kind { RUN_DONE, RUN_OPEN, RUN_SINGLE };

static const struct window_slot *slot_of(const struct window *window, uint32_t index)
{
	return &window->slots[(window->head + index) & (window->room - 1)];
}

static uint32_t attempts_ended(const struct window_slot *slot)
{
	return slot->state == WINDOW_FLIGHT ? slot->attempt - 1 : slot->attempt;
}

static enum run_kind kind_of(const struct window_slot *slot)
{
	if (slot->state == WINDOW_DONE)
		return RUN_DONE;
	return attempts_ended(slot) || slot->delayed ? RUN_SINGLE : RUN_OPEN;
}

// Positions up to the last that must be remembered.
static uint32_t count_to_write(const struct window *window)
{
	uint32_t count = window->count;

	while (count && kind_of(slot_of(window, count - 1)) == RUN_OPEN)
		--count;
	return count;
}

char *window_encode(const struct window *window, uint64_t epoch)
{
	struct text text = {.data = malloc(256), .room = 256};
	uint32_t count = count_to_write(window);

	if (!text.data)
		return NULL;
	memcpy(text.data, MAGIC, sizeof MAGIC - 2);
	text.size = sizeof MAGIC - 2;
	text_put(&text, ':', epoch);
	text.data[text.size++] = ':';
	for (uint32_t i = 0; i < count;) {
		const struct window_slot *slot = slot_of(window, i);
		enum run_kind kind = kind_of(slot);
		uint32_t end = i + 1;

		if (kind == RUN_SINGLE && attempts_ended(slot)) {
			text_put(&text, 'R', attempts_ended(slot));
			text_put(&text, '.', slot->state == WINDOW_WAITING ? slot->due_ms : 0);
		} else if (kind == RUN_SINGLE) {
			text_put(&text, 'D', slot->due_ms);
		} else {
			while (end < count && kind_of(slot_of(window, end)) == kind)
				++end;
			text_put(&text, kind == RUN_DONE ? 'A' : 'O', end - i);
		}
		i = end;
	}
	if (text.failed || !(text.data = realloc(text.data, text.size + 16))) {
		free(text.data);
		return NULL;
	}
	sprintf(text.data + text.size, ":%08x", crc32c(0, text.data, text.size));
	return text.data;
}

// ---- reading; anything odd is foreign

static bool number_take(const char **at, uint64_t *ret)
{
	uint64_t number = 0;
	const char *from = *at;

	for (;; ++*at) {
		char c = **at;
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'z')
			digit = (unsigned)(c - 'a') + 10;
		else
			break;
		if (__builtin_mul_overflow(number, 36u, &number) ||
		    __builtin_add_overflow(number, digit, &number))
			return false;
	}
	*ret = number;
	return *at != from;
}

static int run_restore(struct window *window, char letter, uint64_t number, uint64_t due_ms,
		       uint64_t *offset)
{
	struct window_slot *slot;
	int r = 0;

	if (letter == 'A') {
		for (; !r && number; --number)
			r = window_add_done(window, (*offset)++);
		return r;
	}
	for (uint64_t i = 0; !r && i < (letter == 'O' ? number : 1); ++i) {
		r = window_add_delayed(window, *offset, letter == 'D' ? number : due_ms);
		if (r)
			break;
		slot = &window->slots[(window->head + (uint32_t)(*offset - window->base)) &
				      (window->room - 1)];
		if (letter != 'D') {
			slot->delayed = false;
			--window->delayed;
			slot->attempt = letter == 'R' ? (uint32_t)number : 0;
			++*(letter == 'R' ? &window->retrying : &window->untried);
		}
		++*offset;
	}
	return r;
}

// *at stands behind "EPOCH:"; ends at ':'.
static int runs_restore(struct window *window, const char *at)
{
	uint64_t offset = window->base, total = 0;

	while (*at != ':') {
		char letter = *at++;
		uint64_t number, due_ms = 0;

		if (!strchr("AORD", letter) || !number_take(&at, &number))
			return WINDOW_E_FOREIGN;
		if (letter == 'R' && (*at++ != '.' || !number_take(&at, &due_ms) || number == 0 ||
				      number > UINT32_MAX - 1))
			return WINDOW_E_FOREIGN;
		total += letter == 'A' || letter == 'O' ? number : 1;
		if (total > WINDOW_POSITIONS_MAX || number > INT64_MAX || due_ms > INT64_MAX)
			return WINDOW_E_FOREIGN;
		// Done positions at the base would have been passed; the first is open.
		if (offset == window->base && letter == 'A')
			return WINDOW_E_FOREIGN;
		int r = run_restore(window, letter, number, due_ms, &offset);
		if (r)
			return r;
	}
	return 0;
}

int window_decode(struct window *window, const char *text, uint64_t *ret_epoch)
{
	const char *at = text + sizeof MAGIC - 1, *last = strrchr(text, ':');
	uint64_t base = window->base, epoch;
	uint32_t limit = window->text_limit;
	char crc[16];
	int r;

	*ret_epoch = 0;
	if (!*text)
		return 0;
	if (strncmp(text, MAGIC, sizeof MAGIC - 1) != 0 || strlen(last) != 9)
		return WINDOW_E_FOREIGN;
	snprintf(crc, sizeof crc, ":%08x", crc32c(0, text, (size_t)(last - text)));
	if (strcmp(crc, last) != 0 || !number_take(&at, &epoch) || *at++ != ':')
		return WINDOW_E_FOREIGN;
	r = runs_restore(window, at);
	if (r) {
		window_deinit(window);
		window_init(window, base, limit);
		return r;
	}
	*ret_epoch = epoch;
	return 0;
}
