// Random schedules of an engine in virtual time, judged after every step by a model beside it.
//
// A schedule is a start, a number of steps and an end, all drawn from its seed. Each step has
// random numbers of its own (seed and number of the step), so a step may be left out without
// changing what the others do: that is how a failing schedule is shortened (main.c).
#pragma once

#include "core/base/util.h"

#include <stdbool.h>
#include <stdint.h>

struct sim_engine {
	const char *name;
	unsigned steps;       // of one schedule, at most SIM_STEPS
	void (*start)(void);  // draws what the schedule keeps: limits, modes, kinds of fault
	void (*step)(void);   // one event, then what must hold
	void (*finish)(void); // no faults any more: everything comes to its end; frees all
};

#define SIM_STEPS 1024u

extern const struct sim_engine sim_window, sim_source, sim_kafka, sim_group, sim_hand,
	sim_membership, sim_quota, sim_share, sim_fair, sim_follow, sim_queue;

uint64_t sim_below(uint64_t n); // 0 … n - 1
bool sim_one_in(uint64_t n);

// A line of the trace; printed only when a failing schedule is shown.
void sim_trace(const char *format, ...) PRINTF_LIKE(1, 2);
// Ends the schedule: it fails. Prints both sides when there are two.
void sim_fail(const char *file, int line, const char *what) __attribute__((noreturn));
void sim_fail_equal(const char *file, int line, const char *what, int64_t left, int64_t right)
	__attribute__((noreturn));

#define SIM_MUST(condition) ((condition) ? (void)0 : sim_fail(__FILE__, __LINE__, #condition))
#define SIM_EQUAL(a, b)                                                                            \
	do {                                                                                       \
		int64_t sim_a = (int64_t)(a), sim_b = (int64_t)(b);                                \
		if (sim_a != sim_b)                                                                \
			sim_fail_equal(__FILE__, __LINE__, #a " == " #b, sim_a, sim_b);            \
	} while (0)
