// Starts threads. A thread inherits the mask of the thread that makes it: all signals are blocked
// while it is made, so that not even its first instruction can be interrupted by one.
//
// Signals of a thread's own faults (SIGSEGV and the like) stay unblocked. If they were blocked, the
// kernel would end the process without the handler that reports what happened
// (adapters/store/fault.h, the sanitizers).
//
// It neither joins nor counts threads; each is its caller's.

#include "core/loop/thread.h"

#include "core/base/util.h"

#include <signal.h>

static void block_signals(sigset_t *ret_before)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	sigset_t blocked;

	sigfillset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(faults); ++i)
		sigdelset(&blocked, faults[i]);
	pthread_sigmask(SIG_BLOCK, &blocked, ret_before);
}

int thread_start(const char *name, void *(*fn)(void *ctx), void *ctx, pthread_t *ret)
{
	sigset_t before;
	int r;

	block_signals(&before);
	r = pthread_create(ret, NULL, fn, ctx);
	if (r == 0)
		pthread_setname_np(*ret, name);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}
