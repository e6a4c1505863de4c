// The window of a partition: the state of each position from the cursor on. States are bytes in a
// power-of-two ring, so that an ack is one look and one store. What only few positions have
// (attempts that have ended, a due time) stands beside them in a small hash of marks.
//
// Invariants: the position at `base` is not done; `flight`, `open`, `waiting` and `rejected` are
// the numbers of positions in these states; a mark belongs to a position that is not done; a
// waiting or rejected position has a mark. The limits (positions, marks, attempts, delay) are what
// makes every window fit into the commit metadata: see the sum in window_text.c.

#include "adapters/log/window.h"

#include <errno.h>

#define ROOM_MIN      64u
#define MARK_ROOM_MIN 16u
#define GAP_MAX       64u // positions that are read for nothing to join two stretches

void window_init(struct window *window, uint64_t base)
{
	*window = (struct window){
		.base = base, .counts.skipped = base, .open_from = base, .next_due_ms = UINT64_MAX};
}

void window_deinit(struct window *window)
{
	free(window->states);
	free(window->marks);
	*window = (struct window){0};
}

static bool is_inside(const struct window *window, uint64_t offset)
{
	return offset >= window->base && offset - window->base < window->count;
}

static uint8_t *state_of(const struct window *window, uint64_t offset)
{
	return &window->states[(window->head + (uint32_t)(offset - window->base)) &
			       (window->room - 1)];
}

enum window_state window_state_at(const struct window *window, uint64_t offset)
{
	return is_inside(window, offset) ? *state_of(window, offset) : WINDOW_DONE;
}

// ---- marks

static uint32_t mark_slot(const struct window *window, uint64_t offset)
{
	return (uint32_t)(offset * 0x9e3779b97f4a7c15ull >> 40) & (window->mark_room - 1);
}

static struct window_mark *mark_find(const struct window *window, uint64_t offset)
{
	uint32_t at;

	if (window->mark_count == 0)
		return NULL;
	at = mark_slot(window, offset);
	for (; window->marks[at].used; at = (at + 1) & (window->mark_room - 1))
		if (window->marks[at].offset == offset)
			return &window->marks[at];
	return NULL;
}

const struct window_mark *window_mark_at(const struct window *window, uint64_t offset)
{
	return mark_find(window, offset);
}

static void mark_place(struct window *window, const struct window_mark *mark)
{
	uint32_t at = mark_slot(window, mark->offset);

	while (window->marks[at].used)
		at = (at + 1) & (window->mark_room - 1);
	window->marks[at] = *mark;
}

static int marks_grow(struct window *window)
{
	uint32_t old_room = window->mark_room, room = MAX(2 * old_room, MARK_ROOM_MIN);
	struct window_mark *old = window->marks, *grown = calloc(room, sizeof *grown);

	if (!grown)
		return -ENOMEM;
	window->marks = grown;
	window->mark_room = room;
	for (uint32_t i = 0; i < old_room; ++i)
		if (old[i].used)
			mark_place(window, &old[i]);
	free(old);
	return 0;
}

static int mark_set(struct window *window, uint64_t offset, uint32_t attempts, uint64_t due_ms)
{
	struct window_mark *mark = mark_find(window, offset);
	int r;

	if (mark) {
		mark->attempts = attempts;
		mark->due_ms = due_ms;
		return 0;
	}
	if (window->mark_count == WINDOW_MARKS)
		return -ENOSPC;
	if (2 * (window->mark_count + 1) > window->mark_room && (r = marks_grow(window)) < 0)
		return r;
	mark_place(window, &(struct window_mark){offset, due_ms, attempts, true});
	++window->mark_count;
	return 0;
}

// Those behind it in its chain move up, so that no look ends too early.
static void mark_remove(struct window *window, uint64_t offset)
{
	struct window_mark *mark = mark_find(window, offset);
	uint32_t hole, at, mask = window->mark_room - 1;

	if (!mark)
		return;
	hole = (uint32_t)(mark - window->marks);
	for (at = (hole + 1) & mask; window->marks[at].used; at = (at + 1) & mask) {
		uint32_t home = mark_slot(window, window->marks[at].offset);

		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		window->marks[hole] = window->marks[at];
		hole = at;
	}
	window->marks[hole].used = false;
	--window->mark_count;
}

static uint32_t attempts_of(const struct window *window, uint64_t offset)
{
	const struct window_mark *mark = mark_find(window, offset);

	return mark ? mark->attempts : 0;
}

// ---- states

static uint32_t *counter_of(struct window *window, uint8_t state)
{
	return state == WINDOW_FLIGHT    ? &window->flight
	       : state == WINDOW_OPEN    ? &window->open
	       : state == WINDOW_WAITING ? &window->waiting
					 : &window->rejected;
}

static void base_advance(struct window *window)
{
	while (window->count && window->states[window->head] == WINDOW_DONE) {
		window->head = (window->head + 1) & (window->room - 1);
		--window->count;
		++window->base;
	}
}

static void state_set(struct window *window, uint64_t offset, enum window_state state)
{
	uint8_t *at = state_of(window, offset);

	if (*at != WINDOW_DONE)
		--*counter_of(window, *at);
	*at = (uint8_t)state;
	if (state == WINDOW_DONE) {
		if (window->mark_count)
			mark_remove(window, offset);
		if (offset == window->base)
			base_advance(window);
		return;
	}
	++*counter_of(window, (uint8_t)state);
	if (state == WINDOW_OPEN)
		window->open_from = MIN(window->open_from, offset);
}

static int ring_grow(struct window *window, uint64_t wanted)
{
	uint32_t room = MAX(window->room, ROOM_MIN);
	uint8_t *states;

	while (room < wanted)
		room *= 2;
	states = malloc(room);
	if (!states)
		return -ENOMEM;
	for (uint32_t i = 0; i < window->count; ++i)
		states[i] = window->states[(window->head + i) & (window->room - 1)];
	free(window->states);
	window->states = states;
	window->room = room;
	window->head = 0;
	return 0;
}

// Makes `offset` the last position seen, done; what is passed is done too.
static int extend_to(struct window *window, uint64_t offset)
{
	uint32_t mask, at;

	assert(offset >= window_next(window) && window_fits(window, offset));
	if (window->count == 0)
		window->base = offset;
	if (offset - window->base >= window->room) {
		int r = ring_grow(window, offset - window->base + 1);

		if (r < 0)
			return r;
	}
	mask = window->room - 1;
	at = window->head + window->count;
	window->count = (uint32_t)(offset - window->base + 1);
	for (; at != window->head + window->count; ++at)
		window->states[at & mask] = WINDOW_DONE;
	return 0;
}

int window_add(struct window *window, uint64_t offset, bool hole)
{
	uint64_t base = window->base, next = window_next(window);
	int r = extend_to(window, offset);

	if (r < 0) {
		window->base = base;
		return r;
	}
	window->counts.skipped += offset - next + hole;
	if (hole)
		base_advance(window);
	else
		state_set(window, offset, WINDOW_FLIGHT);
	return 0;
}

// ---- settling

bool window_in_flight(const struct window *window, uint64_t offset, uint32_t attempt)
{
	if (window_state_at(window, offset) != WINDOW_FLIGHT)
		return false;
	return attempt == (window->mark_count ? attempts_of(window, offset) : 0) + 1;
}

enum window_result window_ack(struct window *window, uint64_t offset, uint32_t attempt)
{
	if (!window_in_flight(window, offset, attempt))
		return WINDOW_STALE;
	state_set(window, offset, WINDOW_DONE);
	return WINDOW_OK;
}

static enum window_result fail_attempt(struct window *window, uint64_t offset, uint32_t attempt,
				       uint64_t due_ms, enum window_state state)
{
	if (!window_in_flight(window, offset, attempt))
		return WINDOW_STALE;
	if (attempt > WINDOW_ATTEMPTS || mark_set(window, offset, attempt, due_ms) < 0)
		return WINDOW_CROWDED;
	state_set(window, offset, state);
	return WINDOW_OK;
}

enum window_result window_nack(struct window *window, uint64_t offset, uint32_t attempt,
			       uint64_t due_ms)
{
	enum window_result result = fail_attempt(window, offset, attempt, due_ms,
						 due_ms ? WINDOW_WAITING : WINDOW_OPEN);

	if (result == WINDOW_OK && due_ms)
		window->next_due_ms = MIN(window->next_due_ms, due_ms);
	return result;
}

enum window_result window_reject(struct window *window, uint64_t offset, uint32_t attempt)
{
	return fail_attempt(window, offset, attempt, 0, WINDOW_REJECTED);
}

enum window_result window_release(struct window *window, uint64_t offset, uint32_t attempt)
{
	if (!window_in_flight(window, offset, attempt))
		return WINDOW_STALE;
	state_set(window, offset, WINDOW_OPEN);
	return WINDOW_OK;
}

// ---- handing out again

uint32_t window_wake(struct window *window, uint64_t now_ms)
{
	uint64_t next_ms = UINT64_MAX;
	uint32_t woken = 0;

	if (now_ms < window->next_due_ms)
		return 0;
	for (uint32_t i = 0; i < window->mark_room; ++i) {
		struct window_mark *mark = &window->marks[i];

		if (!mark->used || *state_of(window, mark->offset) != WINDOW_WAITING)
			continue;
		if (mark->due_ms > now_ms) {
			next_ms = MIN(next_ms, mark->due_ms);
			continue;
		}
		mark->due_ms = 0;
		state_set(window, mark->offset, WINDOW_OPEN);
		++woken;
	}
	window->next_due_ms = next_ms;
	return woken;
}

bool window_first_open(struct window *window, uint32_t span, uint64_t *ret_offset,
		       uint64_t *ret_until)
{
	uint64_t offset = MAX(window->open_from, window->base), until;

	if (window->open == 0)
		return false;
	while (*state_of(window, offset) != WINDOW_OPEN) {
		++offset;
		assert(offset < window_next(window)); // `open` says that there is one
	}
	window->open_from = offset;
	until = offset + 1;
	for (uint64_t at = until;
	     at < window_next(window) && at - offset < span && at - until < GAP_MAX; ++at)
		if (*state_of(window, at) == WINDOW_OPEN)
			until = at + 1;
	*ret_offset = offset;
	*ret_until = until;
	return true;
}

// Each has a mark, and there are few of those.
bool window_first_rejected(struct window *window, uint64_t *ret_offset, uint64_t *ret_until)
{
	uint64_t first = UINT64_MAX;

	for (uint32_t i = 0; i < window->mark_room && window->rejected; ++i)
		if (window->marks[i].used &&
		    *state_of(window, window->marks[i].offset) == WINDOW_REJECTED)
			first = MIN(first, window->marks[i].offset);
	if (first == UINT64_MAX)
		return false;
	*ret_offset = first;
	while (window_state_at(window, first) == WINDOW_REJECTED)
		++first;
	*ret_until = first;
	return true;
}

uint32_t window_take(struct window *window, uint64_t offset)
{
	enum window_state state = window_state_at(window, offset);

	if (state != WINDOW_OPEN && state != WINDOW_REJECTED)
		return 0;
	state_set(window, offset, WINDOW_FLIGHT);
	return attempts_of(window, offset) + 1;
}

bool window_drop(struct window *window, uint64_t offset)
{
	if (window_state_at(window, offset) != WINDOW_OPEN)
		return false;
	state_set(window, offset, WINDOW_DONE);
	return true;
}

void window_truncate(struct window *window, uint64_t first)
{
	uint64_t end = MIN(first, window_next(window));

	if (first <= window->truncated)
		return;
	window->truncated = first;
	for (uint64_t offset = window->base; offset < end; ++offset) {
		enum window_state state = window_state_at(window, offset);

		if (state == WINDOW_OPEN || state == WINDOW_WAITING) {
			state_set(window, offset, WINDOW_DONE);
			++window->counts.skipped;
		}
	}
	if (window->count == 0 && window->base < first) {
		window->counts.skipped += first - window->base;
		window->base = first;
	}
}

void window_leave(struct window *window, uint64_t offset)
{
	if (window_state_at(window, offset) != WINDOW_DONE)
		state_set(window, offset, WINDOW_DONE);
}

int window_restore(struct window *window, uint64_t offset, enum window_state state,
		   uint32_t attempts, uint64_t due_ms)
{
	int r = 0;

	while (r == 0 && window_next(window) <= offset)
		r = extend_to(window, window_next(window));
	if (r == 0 && (attempts || due_ms))
		r = mark_set(window, offset, attempts, due_ms);
	if (r < 0)
		return r;
	if (state != WINDOW_DONE)
		state_set(window, offset, state);
	if (state == WINDOW_WAITING)
		window->next_due_ms = MIN(window->next_due_ms, due_ms);
	return 0;
}
