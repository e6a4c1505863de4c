// A thread that calls one function again and again, with a rest in between; each call says how long
// the next rest is.
//
// Rests are timed by the monotonic clock, from the end of a round on, so a round that takes longer
// than its rest does not lead to a burst of rounds. A poke ends the rest early. It is a flag that
// is cleared as a round begins: one round answers all pokes before it. With a gather time, the
// round waits that much longer for further pokes.
//
// Invariant: rounds never overlap, and none begins after ticker_stop(). It does not interrupt a
// round; stopping waits for its end.

#include "core/loop/ticker.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "core/loop/thread.h"

#include <errno.h>
#include <stdbool.h>
#include <time.h>

struct ticker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping, poked;
	bool running; // of who stops it
	uint64_t rest_ns, gather_ns;
	ticker_fn fn;
	void *ctx;
};

// Called with the lock held. Returns early when it is stopped, or when `ends` becomes true.
static void wait_locked(struct ticker *ticker, uint64_t wait_ns, const bool *ends)
{
	uint64_t until_ns = clock_now_ns() + wait_ns;
	struct timespec until = {.tv_sec = (time_t)(until_ns / S_NS),
				 .tv_nsec = (long)(until_ns % S_NS)};
	int r = 0;

	while (!ticker->stopping && !*ends && r == 0)
		r = pthread_cond_timedwait(&ticker->wake, &ticker->lock, &until);
	assert(ticker->stopping || *ends || r == ETIMEDOUT);
}

static void rest_locked(struct ticker *ticker)
{
	wait_locked(ticker, ticker->rest_ns, &ticker->poked);
	if (ticker->poked && ticker->gather_ns)
		wait_locked(ticker, ticker->gather_ns, &ticker->stopping);
	ticker->poked = false;
}

// The round itself runs without the lock, so pokes and a stop never wait for it. `rest_ns` is this
// thread's own.
static void *run_rounds(void *ctx)
{
	struct ticker *ticker = ctx;

	pthread_mutex_lock(&ticker->lock);
	for (;;) {
		rest_locked(ticker);
		if (ticker->stopping)
			break;
		pthread_mutex_unlock(&ticker->lock);
		ticker->rest_ns = ticker->fn(ticker->ctx);
		pthread_mutex_lock(&ticker->lock);
	}
	pthread_mutex_unlock(&ticker->lock);
	return NULL;
}

static void ticker_deinit(struct ticker *ticker)
{
	pthread_cond_destroy(&ticker->wake);
	pthread_mutex_destroy(&ticker->lock);
	free(ticker);
}

int ticker_new(const char *name, uint64_t first_ns, ticker_fn fn, void *ctx, struct ticker **ret)
{
	struct ticker *ticker = calloc(1, sizeof *ticker);
	pthread_condattr_t monotonic;
	int r;

	if (!ticker)
		return -ENOMEM;
	ticker->rest_ns = first_ns;
	ticker->fn = fn;
	ticker->ctx = ctx;
	pthread_mutex_init(&ticker->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&ticker->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	r = thread_start(name, run_rounds, ticker, &ticker->thread);
	if (r < 0) {
		ticker_deinit(ticker);
		return r;
	}
	ticker->running = true;
	*ret = ticker;
	return 0;
}

static void wake_with(struct ticker *ticker, bool *flag)
{
	pthread_mutex_lock(&ticker->lock);
	*flag = true;
	pthread_cond_signal(&ticker->wake);
	pthread_mutex_unlock(&ticker->lock);
}

void ticker_poke(struct ticker *ticker)
{
	if (ticker)
		wake_with(ticker, &ticker->poked);
}

void ticker_set_gather(struct ticker *ticker, uint64_t gather_ns)
{
	pthread_mutex_lock(&ticker->lock);
	ticker->gather_ns = gather_ns;
	pthread_mutex_unlock(&ticker->lock);
}

void ticker_stop(struct ticker *ticker)
{
	if (!ticker || !ticker->running)
		return;
	assert(!pthread_equal(ticker->thread, pthread_self()));
	wake_with(ticker, &ticker->stopping);
	pthread_join(ticker->thread, NULL);
	ticker->running = false;
}

void ticker_free(struct ticker *ticker)
{
	if (!ticker)
		return;
	ticker_stop(ticker);
	ticker_deinit(ticker);
}
