// What all proxies together have admitted of one limit, in slots of 100 ms, and the bounds on it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CHECK_SLOT_NS 100000000ull
#define CHECK_SLOTS   600u // 60 s
#define CHECK_SHORT   100u // 10 s

struct share_check {
	uint64_t limit; // units a second
	uint64_t slack; // units: one for each proxy
	uint64_t admitted[CHECK_SLOTS], sum_short, sum_long;
	double missing[CHECK_SLOTS], missing_long; // what was not offered
	uint64_t slots;                            // that have passed
	uint64_t calm_from, even_from; // slots since when nothing was amiss; no load has changed
	double cut[CHECK_SHORT];
	double worst_short, worst_over, worst_under; // parts of the limit, for the trace
	double worst_fault;
};

void share_check_start(struct share_check *check, uint64_t limit, uint64_t proxies);
void share_check_add(struct share_check *check, uint64_t admitted, double missing);
// At the end of a slot. `fault`: something was amiss in it, with Redis or a proxy; `moved`: load
// came, went or moved; `cut`: how much more than the limit may pass in a fault, in parts of it.
void share_check_slot(struct share_check *check, bool fault, bool moved, double cut);
