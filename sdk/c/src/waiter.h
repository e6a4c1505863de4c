// One thread waits for one event, with one system call on each side at most.
#pragma once

#include <stdatomic.h>

struct waiter {
	atomic_uint state;
};

void waiter_init(struct waiter *waiter);
void waiter_wait(struct waiter *waiter);
// The waiter may be gone when this returns.
void waiter_wake(struct waiter *waiter);
