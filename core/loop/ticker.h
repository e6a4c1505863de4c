// A thread that does the same thing again and again: it rests between two rounds, and can be poked.
#pragma once

#include <stdint.h>

struct ticker;

// One round. Returns how long to rest before the next. @thread the ticker's
typedef uint64_t (*ticker_fn)(void *ctx);

// The first round begins after first_ns. -errno: there is no thread.
int ticker_new(const char *name, uint64_t first_ns, ticker_fn fn, void *ctx, struct ticker **ret);

// The next round begins at once, or right after the one that runs. Pokes that come meanwhile are
// one. @thread any
void ticker_poke(struct ticker *ticker);

// Waits for a round that runs, ends the thread, frees. Accepts NULL. @thread any but the ticker's
void ticker_free(struct ticker *ticker);
