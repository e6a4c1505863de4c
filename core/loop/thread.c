// Starts threads. A thread inherits its maker's mask: all signals are blocked while it is made, so
// that not even its first instruction can be interrupted by one.

#include "core/loop/thread.h"

#include <signal.h>

int thread_start(const char *name, void *(*fn)(void *ctx), void *ctx, pthread_t *ret)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(ret, NULL, fn, ctx);
	if (r == 0)
		pthread_setname_np(*ret, name);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}
