// Lets one thread wait for one event.
//
// It is a futex instead of a mutex and a condition: a thousand threads that send synchronously are
// a thousand wake-ups a batch. Each costs the I/O thread one system call at most, and none when the
// thread has not gone to sleep yet.
//
// Invariant: one wake for one wait. The waiter usually lies on the waiting thread's stack and may
// be gone when the wake's system call runs. It has no timeout: the I/O ends every send at its
// deadline.

#include "sdk/c/src/waiter.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WAITER_RUNNING, WAITER_ASLEEP, WAITER_WOKEN };

void waiter_init(struct waiter *waiter)
{
	atomic_init(&waiter->state, WAITER_RUNNING);
}

void waiter_wait(struct waiter *waiter)
{
	unsigned state = WAITER_RUNNING;

	if (!atomic_compare_exchange_strong(&waiter->state, &state, WAITER_ASLEEP))
		return;
	while (atomic_load(&waiter->state) != WAITER_WOKEN)
		syscall(SYS_futex, &waiter->state, FUTEX_WAIT_PRIVATE, WAITER_ASLEEP, NULL, NULL,
			0);
}

void waiter_wake(struct waiter *waiter)
{
	// The address may belong to something else by the time of the call: a wake-up without
	// a waiter is harmless, and every futex wait copes with one too many.
	if (atomic_exchange(&waiter->state, WAITER_WOKEN) == WAITER_ASLEEP)
		syscall(SYS_futex, &waiter->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
