// Slots sit in a power-of-two ring; those that wait also stand in a heap by due time. The heap is
// never searched: an entry whose slot has changed is dropped when it comes to the top. A slot has
// at most one valid entry, and stale ones are cleared when the heap would outgrow twice the ring.

#include "adapters/log/window.h"

#include <errno.h>

#define ROOM_MIN 64u

// What one open or done run may need in the metadata, and what an attempt or due time adds
// (window_text.c).
#define TEXT_HEAD  64u
#define TEXT_RUN   10u
#define TEXT_RETRY 28u

void window_init(struct window *window, uint64_t base, uint32_t text_limit)
{
	*window = (struct window){.base = base, .text_limit = text_limit};
}

void window_deinit(struct window *window)
{
	free(window->slots);
	free(window->heap);
	*window = (struct window){0};
}

static struct window_slot *slot_at(const struct window *window, uint64_t offset)
{
	return &window->slots[(window->head + (uint32_t)(offset - window->base)) &
			      (window->room - 1)];
}

static struct window_slot *slot_find(const struct window *window, uint64_t offset)
{
	return offset >= window->base && offset - window->base < window->count
		       ? slot_at(window, offset)
		       : NULL;
}

uint64_t window_next(const struct window *window)
{
	return window->base + window->count;
}

// Every open slot that is not plainly untried may cost a run and a retry entry.
static uint64_t text_bound(const struct window *window)
{
	return TEXT_HEAD +
	       (uint64_t)TEXT_RETRY * (window->retrying + window->delayed + window->flight) +
	       (uint64_t)TEXT_RUN * window->untried;
}

bool window_full(const struct window *window)
{
	return window->count >= WINDOW_POSITIONS_MAX ||
	       (window->text_limit && text_bound(window) + TEXT_RETRY > window->text_limit);
}

// ---- the heap

static bool earlier(const struct window_wait *a, const struct window_wait *b)
{
	return a->due_ms < b->due_ms || (a->due_ms == b->due_ms && a->offset < b->offset);
}

static void heap_sift_up(struct window *window, uint32_t at)
{
	struct window_wait item = window->heap[at];

	while (at > 0 && earlier(&item, &window->heap[(at - 1) / 2])) {
		window->heap[at] = window->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	window->heap[at] = item;
}

static void heap_sift_down(struct window *window, uint32_t at)
{
	struct window_wait item = window->heap[at];

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= window->heap_count)
			break;
		if (child + 1 < window->heap_count &&
		    earlier(&window->heap[child + 1], &window->heap[child]))
			++child;
		if (!earlier(&window->heap[child], &item))
			break;
		window->heap[at] = window->heap[child];
		at = child;
	}
	window->heap[at] = item;
}

static bool wait_valid(const struct window *window, const struct window_wait *wait)
{
	const struct window_slot *slot = slot_find(window, wait->offset);

	return slot && slot->state == WINDOW_WAITING && slot->due_ms == wait->due_ms;
}

static void heap_clear_stale(struct window *window)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < window->heap_count; ++i)
		if (wait_valid(window, &window->heap[i]))
			window->heap[kept++] = window->heap[i];
	window->heap_count = kept;
	for (uint32_t i = kept / 2; i-- > 0;)
		heap_sift_down(window, i);
}

static void heap_push(struct window *window, uint64_t offset, uint64_t due_ms)
{
	if (window->heap_count == window->heap_room)
		heap_clear_stale(window);
	assert(window->heap_count < window->heap_room);
	window->heap[window->heap_count++] = (struct window_wait){due_ms, offset};
	heap_sift_up(window, window->heap_count - 1);
}

static void heap_pop(struct window *window)
{
	window->heap[0] = window->heap[--window->heap_count];
	if (window->heap_count)
		heap_sift_down(window, 0);
}

static const struct window_wait *heap_top(struct window *window)
{
	while (window->heap_count && !wait_valid(window, &window->heap[0]))
		heap_pop(window);
	return window->heap_count ? &window->heap[0] : NULL;
}

// ---- slots

// The heap gets room for every slot twice over, so that later calls cannot fail. A slot may leave
// stale entries of several waits behind; clearing finds at most one valid entry a slot, so it
// always makes room.
static int ring_grow(struct window *window)
{
	uint32_t room = window->room ? 2 * window->room : ROOM_MIN;
	struct window_slot *slots = malloc(room * sizeof *slots);
	struct window_wait *heap = realloc(window->heap, 2 * room * sizeof *heap);

	if (heap) {
		window->heap = heap;
		window->heap_room = 2 * room;
	}
	if (!slots || !heap) {
		free(slots);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < window->count; ++i)
		slots[i] = window->slots[(window->head + i) & (window->room - 1)];
	free(window->slots);
	window->slots = slots;
	window->room = room;
	window->head = 0;
	return 0;
}

// Which counter an open slot is in.
static uint32_t *counter_of(struct window *window, const struct window_slot *slot)
{
	if (slot->state == WINDOW_FLIGHT)
		return &window->flight;
	return slot->attempt   ? &window->retrying
	       : slot->delayed ? &window->delayed
			       : &window->untried;
}

static void slot_set(struct window *window, struct window_slot *slot, struct window_slot value)
{
	if (slot->state != WINDOW_DONE)
		--*counter_of(window, slot);
	*slot = value;
	if (slot->state != WINDOW_DONE)
		++*counter_of(window, slot);
}

static void base_advance(struct window *window)
{
	while (window->count && window->slots[window->head].state == WINDOW_DONE) {
		window->head = (window->head + 1) & (window->room - 1);
		--window->count;
		++window->base;
	}
}

static int window_add(struct window *window, uint64_t offset, struct window_slot value)
{
	assert(offset >= window_next(window));
	// Nothing open: the hole needs no slots.
	if (window->count == 0)
		window->base = offset;
	assert(offset - window->base < 4 * WINDOW_POSITIONS_MAX);
	while (offset - window->base >= window->room) {
		int r = ring_grow(window);

		if (r < 0)
			return r;
	}
	while (window_next(window) <= offset) {
		struct window_slot *slot;

		++window->count;
		slot = slot_at(window, window->base + window->count - 1);
		*slot = (struct window_slot){.state = WINDOW_DONE};
	}
	slot_set(window, slot_at(window, offset), value);
	base_advance(window);
	return 0;
}

int window_add_flight(struct window *window, uint64_t offset)
{
	return window_add(window, offset,
			  (struct window_slot){.state = WINDOW_FLIGHT, .attempt = 1});
}

int window_add_delayed(struct window *window, uint64_t offset, uint64_t due_ms)
{
	int r = window_add(
		window, offset,
		(struct window_slot){.state = WINDOW_WAITING, .due_ms = due_ms, .delayed = true});

	if (!r)
		heap_push(window, offset, due_ms);
	return r;
}

int window_add_done(struct window *window, uint64_t offset)
{
	return window_add(window, offset, (struct window_slot){.state = WINDOW_DONE});
}

static struct window_slot *flight_find(struct window *window, uint64_t offset, uint32_t attempt)
{
	struct window_slot *slot = slot_find(window, offset);

	return slot && slot->state == WINDOW_FLIGHT && slot->attempt == attempt ? slot : NULL;
}

bool window_ack(struct window *window, uint64_t offset, uint32_t attempt)
{
	struct window_slot *slot = flight_find(window, offset, attempt);

	if (!slot)
		return false;
	slot->state = WINDOW_DONE;
	--window->flight;
	if (offset == window->base)
		base_advance(window);
	return true;
}

static bool wait_again(struct window *window, uint64_t offset, uint32_t attempt,
		       uint32_t attempts_counted, uint64_t due_ms)
{
	struct window_slot *slot = flight_find(window, offset, attempt);

	if (!slot)
		return false;
	slot_set(window, slot,
		 (struct window_slot){
			 .state = WINDOW_WAITING, .attempt = attempts_counted, .due_ms = due_ms});
	heap_push(window, offset, due_ms);
	return true;
}

bool window_nack(struct window *window, uint64_t offset, uint32_t attempt, uint64_t due_ms)
{
	return wait_again(window, offset, attempt, attempt, due_ms);
}

bool window_release(struct window *window, uint64_t offset, uint32_t attempt)
{
	return wait_again(window, offset, attempt, attempt - 1, 0);
}

bool window_peek(struct window *window, uint64_t now_ms, uint64_t *ret_offset)
{
	const struct window_wait *top = heap_top(window);

	if (!top || top->due_ms > now_ms)
		return false;
	*ret_offset = top->offset;
	return true;
}

uint32_t window_run(const struct window *window, uint64_t offset, uint64_t now_ms, uint32_t max)
{
	uint32_t count = 0;

	for (; count < max; ++count) {
		const struct window_slot *slot = slot_find(window, offset + count);

		if (!slot || slot->state != WINDOW_WAITING || slot->due_ms > now_ms)
			break;
	}
	return count;
}

uint32_t window_take(struct window *window, uint64_t offset, uint64_t now_ms)
{
	struct window_slot *slot = slot_find(window, offset);

	if (!slot || slot->state != WINDOW_WAITING || slot->due_ms > now_ms)
		return 0;
	slot_set(window, slot,
		 (struct window_slot){.state = WINDOW_FLIGHT, .attempt = slot->attempt + 1});
	return slot->attempt;
}

void window_drop(struct window *window, uint64_t offset)
{
	struct window_slot *slot = slot_find(window, offset);

	if (!slot || slot->state != WINDOW_WAITING)
		return;
	slot_set(window, slot, (struct window_slot){.state = WINDOW_DONE});
	base_advance(window);
}

uint64_t window_next_due_ms(struct window *window)
{
	const struct window_wait *top = heap_top(window);

	return top ? top->due_ms : UINT64_MAX;
}

void window_truncate(struct window *window, uint64_t first)
{
	while (window->count && window->base < first) {
		slot_set(window, &window->slots[window->head],
			 (struct window_slot){.state = WINDOW_DONE});
		window->head = (window->head + 1) & (window->room - 1);
		--window->count;
		++window->base;
	}
	if (window->base < first)
		window->base = first;
	base_advance(window);
}
