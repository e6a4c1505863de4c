// Timers of one I/O thread: a binary heap by time, members embedded in what they belong to.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct timer {
	uint64_t at_ns;
	size_t place; // in the heap, from 1; 0: not set
	void (*fire)(struct timer *timer, uint64_t now_ns);
};

struct timers {
	struct timer **heap; // heap[0] is not used
	size_t count;
	size_t capacity;
};

void timers_init(struct timers *timers);
void timers_deinit(struct timers *timers);

// Sets, moves or (UINT64_MAX) clears a timer. -ENOMEM: only when it was not set before.
int timer_set(struct timers *timers, struct timer *timer, uint64_t at_ns);
void timer_clear(struct timers *timers, struct timer *timer);

// Runs what is due, each once; a timer is cleared before its function runs.
void timers_run(struct timers *timers, uint64_t now_ns);
uint64_t timers_next_ns(const struct timers *timers); // UINT64_MAX: none
