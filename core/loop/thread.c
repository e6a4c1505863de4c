// Starts threads. A thread inherits its maker's mask: all signals are blocked while it is made, so
// that not even its first instruction can be interrupted by one.
//
// A fault of the thread's own is not blocked. The kernel would end the process without the handler
// that says what happened (adapters/store/fault.h, the sanitizers).

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
