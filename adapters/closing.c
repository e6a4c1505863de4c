// Closes a cluster on a thread of its own, since a backend may take long to answer.
//
// Each cluster has its own thread rather than a task of an executor, so that a slow backend delays
// no other. The thread is detached: nothing joins it, and the call of `done` is its end.
//
// Invariant: `done` is called once, after the adapter is freed, unless closing_start() failed; then
// the adapter is still the caller's. Not here: a time limit for closing.

#include "adapters/closing.h"

#include "core/base/util.h"
#include "core/loop/thread.h"

#include <errno.h>

struct closing {
	struct adapter *adapter;
	void (*adapter_free)(struct adapter *adapter);
	void (*done)(void *ctx);
	void *ctx;
};

static void *run_closing(void *ctx)
{
	struct closing closing = *(struct closing *)ctx;

	free(ctx);
	closing.adapter_free(closing.adapter);
	closing.done(closing.ctx);
	return NULL;
}

int closing_start(struct adapter *adapter, void (*adapter_free)(struct adapter *adapter),
		  void (*done)(void *ctx), void *ctx)
{
	struct closing *closing = malloc(sizeof *closing);
	pthread_t thread;
	int r;

	if (!closing)
		return -ENOMEM;
	*closing = (struct closing){adapter, adapter_free, done, ctx};
	r = thread_start("closing", run_closing, closing, &thread);
	if (r < 0) {
		free(closing);
		return r;
	}
	pthread_detach(thread);
	return 0;
}
