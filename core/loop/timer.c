// The timers of a loop, as a pairing heap: setting a timer is one comparison, and taking the first
// one costs the logarithm of their number on average. Nothing is allocated, so setting a timer
// cannot fail.
//
// Invariants: no timer is earlier than its parent. `child` is the first child, `next` the next
// sibling, `prev` the previous sibling or, for a first child, the parent. The first timer of the
// heap has neither next nor prev.
//
// Not here: calling the timers, and the kernel's clock (loop.c).

#include "core/loop/timer.h"

// The earlier root takes the other one as its first child. Neither root may have siblings.
static struct loop_timer *meld_heaps(struct loop_timer *a, struct loop_timer *b)
{
	struct loop_timer *late;

	if (!a || !b)
		return a ? a : b;
	late = b;
	if (b->at_ns < a->at_ns) {
		late = a;
		a = b;
	}
	late->next = a->child;
	if (late->next)
		late->next->prev = late;
	late->prev = a;
	a->child = late;
	return a;
}

// Joins a chain of siblings into one heap: pairs from the left, then all of them from the right.
static struct loop_timer *meld_siblings(struct loop_timer *first)
{
	struct loop_timer *pairs = NULL, *root = NULL;

	while (first) {
		struct loop_timer *a = first, *b = a->next;

		first = b ? b->next : NULL;
		a->next = NULL;
		a->prev = NULL;
		if (b) {
			b->next = NULL;
			b->prev = NULL;
		}
		a = meld_heaps(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		struct loop_timer *next = pairs->next;

		pairs->next = NULL;
		root = meld_heaps(root, pairs);
		pairs = next;
	}
	return root;
}

void timer_heap_insert(struct timer_heap *heap, struct loop_timer *timer)
{
	assert(timer != heap->first && !timer->prev);
	timer->child = NULL;
	timer->next = NULL;
	timer->prev = NULL;
	heap->first = meld_heaps(heap->first, timer);
}

// The children of the removed timer become one heap, which replaces it at the root or is melded
// with the root. `prev` is the parent exactly if this is its first child.
void timer_heap_remove(struct timer_heap *heap, struct loop_timer *timer)
{
	struct loop_timer *rest = meld_siblings(timer->child);

	assert(timer == heap->first || timer->prev);
	if (timer == heap->first) {
		heap->first = rest;
	} else {
		if (timer->prev->child == timer)
			timer->prev->child = timer->next;
		else
			timer->prev->next = timer->next;
		if (timer->next)
			timer->next->prev = timer->prev;
		heap->first = meld_heaps(heap->first, rest);
	}
	timer->child = NULL;
	timer->next = NULL;
	timer->prev = NULL;
}
