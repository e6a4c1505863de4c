// The commit metadata: "mqw2", then bytes in the alphabet Z85 (printable ASCII without quotes or
// backslash, five characters for four bytes), because Kafka changes bytes that are not UTF-8:
//
//   u32     CRC-32C of what follows
//   varint  epoch
//   varint  base: the committed position that this belongs to
//   varint  four: what became of positions (struct consumed_counts), in its order
//   varint  time of the commit by the group's steady clock, milliseconds
//   varint  what the wall clock showed more than that, milliseconds, in zigzag form
//   u16     size of the map in bytes, then the map: bit n is set when position base + n is done.
//           It ends with the last position that is done
//   u16     number of marks, in the order of their positions; each:
//     varint  positions since the mark before (the first: since base)
//     varint  attempts that have ended times 2, plus 1 when it waits
//     u16     if it waits: milliseconds from the time of the commit until it is due
//   zeros to a multiple of four
//
// What is open behind the last done or marked position is left out: it is read again as new. A
// position in flight counts the attempts that have ended, so a crash may forget the one under way
// and never adds one.
//
// Any window fits, whatever happens to its positions: the map has at most WINDOW_POSITIONS / 8
// bytes; a mark has one byte of attempts (WINDOW_ATTEMPTS < 64), two of time and one of distance,
// and at most WINDOW_POSITIONS / 128 distances need a second byte.

#include "adapters/log/window_text.h"

#include "core/base/crc32c.h"

#include <errno.h>

#define MAGIC       "mqw2"
#define MAGIC_SIZE  4u
#define NUMBER_BITS 63 // of epoch and base
#define COUNT_BITS  49 // of times and counts: enough for 17,000 years
#define NUMBERS     2u
#define COUNTS      6u
#define BYTES_MAX                                                                                  \
	(4 + NUMBERS * NUMBER_BITS / 7 + COUNTS * COUNT_BITS / 7 + 2 + WINDOW_POSITIONS / 8 + 2 +  \
	 WINDOW_MARKS * 4 + WINDOW_POSITIONS / 128 + 3)
#define DUE_MAX 65535u

_Static_assert(MAGIC_SIZE + BYTES_MAX / 4 * 5 <= WINDOW_TEXT, "a full window must fit");
_Static_assert(WINDOW_ATTEMPTS < 64 && WINDOW_DELAY_MAX_MS <= DUE_MAX, "a mark must fit");

static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+="
			       "^!/*?&<>()[]{}@%$#";

// ---- writing

static uint8_t *varint_put(uint8_t *at, uint64_t number)
{
	for (; number >= 128; number >>= 7)
		*at++ = (uint8_t)(number | 128);
	*at++ = (uint8_t)number;
	return at;
}

// No more than its room.
static uint8_t *bits_put(uint8_t *at, uint64_t number, unsigned bits)
{
	return varint_put(at, MIN(number, (1ull << bits) - 1));
}

static uint8_t *head_put(uint8_t *at, const struct window *window, uint64_t epoch, uint64_t now_ms)
{
	uint64_t shift = (uint64_t)window->shift_ms << 1 ^ (uint64_t)(window->shift_ms >> 63);

	at = bits_put(at, epoch, NUMBER_BITS);
	at = bits_put(at, window->base, NUMBER_BITS);
	at = bits_put(at, window->counts.dead, COUNT_BITS);
	at = bits_put(at, window->counts.expired, COUNT_BITS);
	at = bits_put(at, window->counts.skipped, COUNT_BITS);
	at = bits_put(at, window->counts.replayed, COUNT_BITS);
	at = bits_put(at, now_ms, COUNT_BITS);
	return bits_put(at, shift, COUNT_BITS);
}

static uint8_t *map_put(uint8_t *at, const struct window *window)
{
	uint8_t *map = at + 2;
	uint32_t size = 0;

	memset(map, 0, WINDOW_POSITIONS / 8);
	for (uint32_t i = 0; i < window->count; ++i) {
		if (window->states[(window->head + i) & (window->room - 1)] != WINDOW_DONE)
			continue;
		map[i / 8] |= (uint8_t)(1u << (i % 8));
		size = i / 8 + 1;
	}
	assert(!(map[0] & 1)); // or the base would have passed it
	le16_put(at, (uint16_t)size);
	return map + size;
}

static int by_offset(const void *a, const void *b)
{
	const struct window_mark *left = a, *right = b;

	return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static uint8_t *marks_put(uint8_t *at, const struct window *window, uint64_t now_ms)
{
	struct window_mark marks[WINDOW_MARKS];
	uint64_t before = window->base;
	uint32_t count = 0;

	assert(window->mark_count <= WINDOW_MARKS);
	for (uint32_t i = 0; i < window->mark_room; ++i)
		if (window->marks[i].used)
			marks[count++] = window->marks[i];
	if (count)
		qsort(marks, count, sizeof marks[0], by_offset);
	le16_put(at, (uint16_t)count);
	at += 2;
	for (uint32_t i = 0; i < count; ++i) {
		bool waits = window_state_at(window, marks[i].offset) == WINDOW_WAITING;
		uint64_t due_ms = marks[i].due_ms > now_ms ? marks[i].due_ms - now_ms : 0;

		assert(marks[i].attempts > 0 && marks[i].attempts <= WINDOW_ATTEMPTS);
		at = varint_put(at, marks[i].offset - before);
		at = varint_put(at, marks[i].attempts * 2ull + waits);
		if (waits) {
			le16_put(at, (uint16_t)MIN(due_ms, DUE_MAX));
			at += 2;
		}
		before = marks[i].offset;
	}
	return at;
}

char *window_text_encode(const struct window *window, uint64_t epoch, uint64_t now_ms)
{
	uint8_t bytes[BYTES_MAX], *at = bytes + 4;
	size_t size;
	char *text, *out;

	assert(epoch <= WINDOW_EPOCH_MAX);
	at = head_put(at, window, epoch, now_ms);
	at = map_put(at, window);
	at = marks_put(at, window, now_ms);
	while ((at - bytes) % 4)
		*at++ = 0;
	size = (size_t)(at - bytes);
	le32_put(bytes, crc32c(0, bytes + 4, size - 4));
	text = malloc(MAGIC_SIZE + size / 4 * 5 + 1);
	if (!text)
		return NULL;
	memcpy(text, MAGIC, MAGIC_SIZE);
	out = text + MAGIC_SIZE;
	for (size_t i = 0; i < size; i += 4, out += 5) {
		uint32_t word = __builtin_bswap32(le32_get(bytes + i));

		for (int digit = 4; digit >= 0; --digit, word /= 85)
			out[digit] = alphabet[word % 85];
	}
	*out = '\0';
	return text;
}

// ---- reading; anything odd is foreign

struct reader {
	const uint8_t *at, *end;
	bool failed;
};

static uint64_t varint_take(struct reader *reader)
{
	uint64_t number = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte;

		if (reader->at == reader->end)
			break;
		byte = *reader->at++;
		number |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return number;
	}
	reader->failed = true;
	return 0;
}

static uint16_t number_take(struct reader *reader)
{
	if (reader->end - reader->at < 2) {
		reader->failed = true;
		return 0;
	}
	reader->at += 2;
	return le16_get(reader->at - 2);
}

static bool text_to_bytes(const char *text, uint8_t bytes[BYTES_MAX], size_t *ret_size)
{
	size_t length = strlen(text);

	if (length < MAGIC_SIZE + 5 || memcmp(text, MAGIC, MAGIC_SIZE) != 0 ||
	    (length - MAGIC_SIZE) % 5 || (length - MAGIC_SIZE) / 5 * 4 > BYTES_MAX)
		return false;
	*ret_size = (length - MAGIC_SIZE) / 5 * 4;
	for (size_t i = 0; i < *ret_size; i += 4) {
		const char *from = text + MAGIC_SIZE + i / 4 * 5;
		uint64_t word = 0;

		for (unsigned digit = 0; digit < 5; ++digit) {
			const char *found = strchr(alphabet, from[digit]);

			if (!found)
				return false;
			word = word * 85 + (uint64_t)(found - alphabet);
		}
		if (word > UINT32_MAX)
			return false;
		le32_put(bytes + i, __builtin_bswap32((uint32_t)word));
	}
	return le32_get(bytes) == crc32c(0, bytes + 4, *ret_size - 4);
}

static int map_restore(struct window *window, struct reader *reader)
{
	uint32_t size = number_take(reader);
	const uint8_t *map = reader->at;
	uint64_t base = window->base;

	if (reader->failed || size > WINDOW_POSITIONS / 8 || reader->end - reader->at < size)
		return WINDOW_E_FOREIGN;
	reader->at += size;
	if (size == 0)
		return 0;
	// The first position is open, or the base would have passed it; the last one is done.
	if ((map[0] & 1) || map[size - 1] == 0)
		return WINDOW_E_FOREIGN;
	for (uint32_t i = 0, end = 8 * size - (uint32_t)(__builtin_clz(map[size - 1]) - 24);
	     i < end; ++i) {
		bool done = map[i / 8] & (1u << (i % 8));
		int r = window_restore(window, base + i, done ? WINDOW_DONE : WINDOW_OPEN, 0, 0);

		if (r < 0)
			return r;
	}
	return 0;
}

static int mark_restore(struct window *window, uint64_t offset, uint64_t attempts, bool waits,
			uint64_t due_ms)
{
	int r;

	// Positions between the map's last and this one are open.
	while (window_next(window) < offset) {
		r = window_restore(window, window_next(window), WINDOW_OPEN, 0, 0);
		if (r < 0)
			return r;
	}
	if (window_next(window) == offset)
		r = window_restore(window, offset, WINDOW_OPEN, 0, 0);
	else
		r = window_state_at(window, offset) == WINDOW_OPEN ? 0 : WINDOW_E_FOREIGN;
	if (r)
		return r;
	return window_restore(window, offset, waits ? WINDOW_WAITING : WINDOW_OPEN,
			      (uint32_t)attempts, waits ? due_ms : 0);
}

static int marks_restore(struct window *window, struct reader *reader, uint64_t written_ms)
{
	uint64_t base = window->base, offset = base;
	uint32_t count = number_take(reader);

	for (uint32_t i = 0; i < count && !reader->failed; ++i) {
		uint64_t distance = varint_take(reader), attempts = varint_take(reader);
		bool waits = attempts & 1;
		uint64_t due_ms = waits ? written_ms + number_take(reader) : 0;
		int r;

		offset += distance;
		if (reader->failed || (i && distance == 0) || distance >= WINDOW_POSITIONS ||
		    offset - base >= WINDOW_POSITIONS || attempts / 2 > WINDOW_ATTEMPTS ||
		    attempts < 2)
			return WINDOW_E_FOREIGN;
		r = mark_restore(window, offset, attempts / 2, waits, MAX(due_ms, 1ull));
		if (r)
			return r;
	}
	return reader->failed || count > WINDOW_MARKS ? WINDOW_E_FOREIGN : 0;
}

static void counts_take(struct window *window, struct reader *reader)
{
	window->counts.dead = varint_take(reader);
	window->counts.expired = varint_take(reader);
	window->counts.skipped = varint_take(reader);
	window->counts.replayed = varint_take(reader);
}

static bool counts_fit(const struct consumed_counts *counts)
{
	const uint64_t most = 1ull << COUNT_BITS;

	return counts->dead < most && counts->expired < most && counts->skipped < most &&
	       counts->replayed < most;
}

static bool times_take(struct window *window, struct reader *reader)
{
	uint64_t shift;
	int64_t wall_ms;

	window->written_ms = varint_take(reader);
	shift = varint_take(reader);
	window->shift_ms = (int64_t)(shift >> 1 ^ (0 - (shift & 1)));
	if (reader->failed || window->written_ms >> COUNT_BITS || shift >> COUNT_BITS)
		return false;
	wall_ms = (int64_t)window->written_ms + window->shift_ms;
	return wall_ms >= 0;
}

static int restore_window(struct window *window, struct reader *reader, uint64_t *ret_epoch)
{
	uint64_t epoch = varint_take(reader), base = varint_take(reader);
	int r = WINDOW_E_FOREIGN;

	counts_take(window, reader);
	if (times_take(window, reader) && counts_fit(&window->counts) && base == window->base &&
	    epoch <= WINDOW_EPOCH_MAX)
		r = map_restore(window, reader);
	if (!r)
		r = marks_restore(window, reader, window->written_ms);
	if (!r && reader->end - reader->at > 3)
		r = WINDOW_E_FOREIGN;
	*ret_epoch = r ? 0 : epoch;
	return r;
}

int window_text_decode(struct window *window, const char *text, uint64_t *ret_epoch)
{
	uint8_t bytes[BYTES_MAX] = {0};
	uint64_t base = window->base;
	struct reader reader = {.at = bytes + 4};
	size_t size;
	int r = WINDOW_E_FOREIGN;

	*ret_epoch = 0;
	if (!*text)
		return 0;
	if (text_to_bytes(text, bytes, &size)) {
		reader.end = bytes + size;
		r = restore_window(window, &reader, ret_epoch);
	}
	if (r) {
		window_deinit(window);
		window_init(window, base);
	}
	return r;
}
