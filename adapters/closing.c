// The thread that closes a cluster. It is detached: `done` is its end. It is no executor: a cluster
// may wait long for its backend, so each has a thread of its own, and none holds up another.

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
