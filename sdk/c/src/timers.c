// The timers of a client's I/O, as a binary heap.
//
// A client may have many producers, each with a deadline; setting a timer again and again to nearby
// times costs a few moves. Unlike the loop's (core/loop/timer.c), setting a timer may fail for want
// of memory.
//
// Invariant: heap[timer->place] == timer for every set timer; place 0 means that it is not set. The
// owner clears a timer before it is freed.

#include "sdk/c/src/timers.h"

#include "core/base/util.h"

#include <errno.h>

#define TIMERS_FIRST 32u

void timers_init(struct timers *timers)
{
	*timers = (struct timers){0};
}

void timers_deinit(struct timers *timers)
{
	free(timers->heap);
	*timers = (struct timers){0};
}

static void heap_put(struct timers *timers, size_t place, struct timer *timer)
{
	timers->heap[place] = timer;
	timer->place = place;
}

static void heap_up(struct timers *timers, struct timer *timer)
{
	size_t place = timer->place;

	for (; place > 1 && timers->heap[place / 2]->at_ns > timer->at_ns; place /= 2)
		heap_put(timers, place, timers->heap[place / 2]);
	heap_put(timers, place, timer);
}

static void heap_down(struct timers *timers, struct timer *timer)
{
	size_t place = timer->place;

	for (;;) {
		size_t child = place * 2;

		if (child > timers->count)
			break;
		if (child < timers->count &&
		    timers->heap[child + 1]->at_ns < timers->heap[child]->at_ns)
			++child;
		if (timers->heap[child]->at_ns >= timer->at_ns)
			break;
		heap_put(timers, place, timers->heap[child]);
		place = child;
	}
	heap_put(timers, place, timer);
}

static int heap_grow(struct timers *timers)
{
	size_t capacity = timers->capacity ? timers->capacity * 2 : TIMERS_FIRST;
	struct timer **heap = realloc(timers->heap, capacity * sizeof(struct timer *));

	if (!heap)
		return -ENOMEM;
	timers->heap = heap;
	timers->capacity = capacity;
	return 0;
}

int timer_set(struct timers *timers, struct timer *timer, uint64_t at_ns)
{
	if (at_ns == UINT64_MAX) {
		timer_clear(timers, timer);
		return 0;
	}
	if (!timer->place) {
		if (timers->count + 1 >= timers->capacity && heap_grow(timers) < 0)
			return -ENOMEM;
		timer->at_ns = at_ns;
		heap_put(timers, ++timers->count, timer);
		heap_up(timers, timer);
		return 0;
	}
	timer->at_ns = at_ns;
	heap_up(timers, timer);
	heap_down(timers, timer);
	return 0;
}

void timer_clear(struct timers *timers, struct timer *timer)
{
	struct timer *last;

	if (!timer->place)
		return;
	last = timers->heap[timers->count--];
	if (last != timer) {
		heap_put(timers, timer->place, last);
		heap_up(timers, last);
		heap_down(timers, last);
	}
	timer->place = 0;
}

void timers_run(struct timers *timers, uint64_t now_ns)
{
	// No more rounds than timers at the start: one that is set again waits for the next call.
	for (size_t left = timers->count;
	     left > 0 && timers->count > 0 && timers->heap[1]->at_ns <= now_ns; --left) {
		struct timer *timer = timers->heap[1];

		timer_clear(timers, timer);
		timer->fire(timer, now_ns);
	}
}

uint64_t timers_next_ns(const struct timers *timers)
{
	return timers->count > 0 ? timers->heap[1]->at_ns : UINT64_MAX;
}
