// One rate limit by the generic cell rate algorithm (ITU-T I.371 annex A, in virtual-scheduling
// form).
//
// The state is one 64-bit number, the theoretical arrival time (TAT): when the bucket would be full
// again. Any number of threads may use a limit at the same time; there is no lock. Time is an
// argument, monotonic nanoseconds.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GCRA_UNLIMITED UINT64_MAX
#define GCRA_FINE      1024u // a pace is given in 1/1024 units a second

struct gcra {
	uint64_t tat;     // atomic; in 1/64 ns
	uint64_t pace;    // atomic; 1/1024 units a second; GCRA_UNLIMITED: every take passes
	uint64_t taken;   // atomic; while `counted`: units taken less those given back
	uint64_t refused; // atomic; while `counted`: units that did not pass, see gcra_taken()
	bool counted;     // atomic
};

void gcra_init(struct gcra *gcra, uint64_t rate);
// What is owed stays owed: at a higher rate as many units, which is less time, at a lower one for
// its time. Nothing is owed any more after rate 0 or GCRA_UNLIMITED.
void gcra_set_rate(struct gcra *gcra, uint64_t rate, uint64_t now_ns);
uint64_t gcra_rate(const struct gcra *gcra); // units a second

// For a limit that is shared between proxies (share.h). A pace that rises makes nothing free at
// once: as many units are free as before, at most a burst of the new pace.
void gcra_set_pace(struct gcra *gcra, uint64_t pace, uint64_t now_ns);
void gcra_count(struct gcra *gcra, bool counted);
// Units taken since the count began, wrapping; *ret_refused: units that did not pass since the last
// call, each as often as it was tried.
uint64_t gcra_taken(struct gcra *gcra, uint64_t *ret_refused);

// Takes as many of `wanted` units as fit; returns how many. The burst is 0.2 s of the rate, at
// least one unit.
uint64_t gcra_take(struct gcra *gcra, uint64_t wanted, uint64_t now_ns);
// Takes all of `wanted` or nothing. With `oversize` a single thing larger than the burst may pass
// when nothing is owed, and the bucket goes negative.
bool gcra_take_all(struct gcra *gcra, uint64_t wanted, bool oversize, uint64_t now_ns);
void gcra_give_back(struct gcra *gcra, uint64_t units);

// Takes `wanted` units ahead of time, behind everything taken so far. Returns when the last of them
// would pass; *ret_start_ns: from when on they come one by one. UINT64_MAX: never, nothing taken.
uint64_t gcra_reserve(struct gcra *gcra, uint64_t wanted, uint64_t now_ns, uint64_t *ret_start_ns);
bool gcra_is_due(const struct gcra *gcra, uint64_t now_ns); // all that was taken would pass now
uint64_t gcra_burst(const struct gcra *gcra);               // units; GCRA_UNLIMITED

uint64_t gcra_remaining(const struct gcra *gcra, uint64_t now_ns); // units that would pass now
uint64_t gcra_wait_ns(const struct gcra *gcra, uint64_t wanted,
		      uint64_t now_ns); // until `wanted` (at most a burst) would pass
