// The thread that closes a cluster. It is detached: `done` is its end.

#include "adapters/closing.h"

#include "core/base/util.h"

#include <errno.h>
#include <pthread.h>

struct closing {
	struct adapter *adapter;
	void (*adapter_free)(struct adapter *adapter);
	void (*done)(void *ctx);
	void *ctx;
};

static void *closing_run(void *arg)
{
	struct closing closing = *(struct closing *)arg;

	free(arg);
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
	r = pthread_create(&thread, NULL, closing_run, closing);
	if (r) {
		free(closing);
		return -r;
	}
	pthread_detach(thread);
	return 0;
}
