// The background scrub: reads everything in both stores, again and again, and reports what is
// damaged or missing (damage.h).
#pragma once

#include "adapters/store/store.h"

struct scrub;

// A pass over both takes `hours` at most, if 5 % of a disk's time are enough. 0: none is made. It
// goes on where the scrub before stopped.
int scrub_start(struct store *const stores[], size_t count, uint64_t hours, struct scrub **ret);
void scrub_stop(struct scrub *scrub); // accepts NULL

struct scrub_state {
	double progress;  // of the pass under way, 0 to 1
	uint64_t passes;  // since the start
	uint64_t bytes;   // read since the start
	int64_t ended_ms; // of the last one; 0: none yet
};
void scrub_state(struct scrub *scrub, struct scrub_state *ret); // @thread any

// One slice; how long to rest after it, in nanoseconds. @thread the scrub's own, or any other where
// it has none (`hours` 0)
uint64_t scrub_slice(struct scrub *scrub);

// One whole pass without a rest. @thread any that may wait for a disk
int scrub_store(struct store *store);
