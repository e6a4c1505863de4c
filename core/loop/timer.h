// The timers of one loop in the order of their time: a pairing heap that lives in the timers
// themselves.
#pragma once

#include "core/loop/loop.h"

struct timer_heap {
	struct loop_timer *first; // NULL: empty
};

void timer_heap_insert(struct timer_heap *heap, struct loop_timer *timer);
void timer_heap_remove(struct timer_heap *heap, struct loop_timer *timer);
