// quota/share.lua in C: the same rule on the same numbers, for schedules in virtual time. A test on
// a real Redis compares the two (tests/unit/test_redis_share.c).
#pragma once

#include "quota/share.h"

#define SCRIPT_PROXIES 8u
#define SCRIPT_BUCKETS 4u

struct script_entry {
	char proxy; // 0: none
	uint64_t life, number;
	double used, pace, demand, credit, at;
};

struct script_books {
	uint64_t id; // 0: none
	double level, last, since;
	struct script_entry entries[SCRIPT_PROXIES];
};

struct share_script {
	struct script_books books[SCRIPT_BUCKETS];
};

// `proxy`: a letter. `now_us`: of Redis's wall clock.
void share_script_run(struct share_script *script, char proxy, uint64_t life, uint64_t proxies,
		      const struct share_call *call, uint64_t now_us, uint64_t *granted);
