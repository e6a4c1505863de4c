// A thread that runs a loop, from start to stop.
#pragma once

#include "core/loop/loop.h"

#include <pthread.h>

struct loop_thread {
	struct loop *loop;
	pthread_t thread;
	bool running;
};

// Runs the loop, which stays the caller's, on a thread of the loop's name. -errno: there is no
// thread.
int loop_thread_start(struct loop_thread *thread, struct loop *loop);

// Waits until everything that was posted before has run. Running. @thread any but the loop's
void loop_thread_drain(struct loop_thread *thread);

// Ends the thread. What is posted and has not run stays in the mailbox (loop_free() runs it).
// Accepts one that is not running. @thread any but the loop's
void loop_thread_stop(struct loop_thread *thread);
