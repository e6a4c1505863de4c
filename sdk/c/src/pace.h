// How much of a quota a producer may use now: what the proxy told its stream last. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pace {
	uint64_t messages; // that may be sent; UINT64_MAX: any number
	uint64_t turn_ns;  // not before
	uint64_t spent_ns; // when `messages` became 0, or the answer to that came
	bool told;         // the proxy says what may be sent
};

void pace_reset(struct pace *pace); // a new stream: nothing was told
void pace_told(struct pace *pace, uint64_t messages, uint64_t after_ns, uint64_t now_ns);
// Messages that may be sent now. `unanswered`: a batch is at the proxy, its answer will come.
uint64_t pace_most(struct pace *pace, bool unanswered, uint64_t now_ns);
void pace_sent(struct pace *pace, uint64_t messages, uint64_t now_ns);
void pace_answered(struct pace *pace, uint64_t now_ns); // a batch was
// When pace_most may be more than it is now; UINT64_MAX: it is not held back.
uint64_t pace_next_ns(const struct pace *pace, bool unanswered, uint64_t now_ns);
