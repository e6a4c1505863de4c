// A thread that does the same thing again and again: it rests between two rounds, and can be poked.
#pragma once

#include <stdint.h>

struct ticker;

// One round. Returns how long to rest before the next. @thread the ticker's
typedef uint64_t (*ticker_fn)(void *ctx);

// The first round begins after first_ns. -errno: there is no thread.
int ticker_new(const char *name, uint64_t first_ns, ticker_fn fn, void *ctx, struct ticker **ret);

// The next round begins at once, or right after the one that runs. Pokes that come meanwhile are
// one. Does nothing to one that is stopped or NULL (not there yet). @thread any
void ticker_poke(struct ticker *ticker);

// From now on a poke waits for so long before its round begins, so that pokes which come together
// are one. 0 until it is set. @thread any
void ticker_set_gather(struct ticker *ticker, uint64_t gather_ns);

// Waits for a round that runs, ends the thread. For a ticker that other threads go on to poke;
// ticker_free() alone does for all others. Accepts NULL. @thread any but the ticker's
void ticker_stop(struct ticker *ticker);

// Stops it and frees. The caller makes sure that no thread pokes it any more. Accepts NULL. @thread
// any but the ticker's
void ticker_free(struct ticker *ticker);
