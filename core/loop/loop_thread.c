// A thread that runs a loop, and nothing else, until the loop ends.
//
// Draining posts a task and waits until it has run, because the mailbox keeps the order of what was
// posted. It does not wait for what earlier tasks left for later (timers, deferred tasks, work on
// other threads).
//
// It does not own the loop: objects of the loop are closed between the end of the thread and
// loop_free().

#include "core/loop/loop_thread.h"

#include "core/base/log.h"
#include "core/loop/thread.h"

#include <semaphore.h>

static void *run_loop(void *ctx)
{
	struct loop *loop = ctx;
	int r = loop_run(loop);

	if (r < 0)
		log_error(NULL, "LOOP-FAILED", "the loop of thread %s ended: %s", loop_name(loop),
			  strerror(-r));
	return NULL;
}

int loop_thread_start(struct loop_thread *thread, struct loop *loop)
{
	int r;

	assert(!thread->running);
	thread->loop = loop;
	r = thread_start(loop_name(loop), run_loop, loop, &thread->thread);
	thread->running = r == 0;
	return r;
}

struct barrier {
	struct loop_task task;
	sem_t passed;
};

static void pass_barrier(struct loop_task *task)
{
	sem_post(&CONTAINER_OF(task, struct barrier, task)->passed);
}

void loop_thread_drain(struct loop_thread *thread)
{
	struct barrier barrier = {.task.fn = pass_barrier};

	assert(thread->running && !loop_is_current(thread->loop));
	sem_init(&barrier.passed, 0, 0);
	loop_post(thread->loop, &barrier.task);
	while (sem_wait(&barrier.passed) < 0)
		;
	sem_destroy(&barrier.passed);
}

void loop_thread_stop(struct loop_thread *thread)
{
	if (!thread->running)
		return;
	assert(!loop_is_current(thread->loop));
	loop_stop(thread->loop);
	pthread_join(thread->thread, NULL);
	thread->running = false;
}
