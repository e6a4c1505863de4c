// Runs tasks that may block on a few threads, in the order in which they were posted.
//
// One queue under one lock, and threads that wait at it. The first thread exists from the start.
// Another is started by a post that finds no free thread, so an executor whose tasks come one at a
// time never has more than one. A thread stays until the executor is freed.
//
// Invariants: a task that has run is forgotten before the next one is taken, so it may free itself.
// No task is dropped: freeing an executor ends its threads only when the queue is empty.
//
// It does not bound its queue: each caller of executor_post() bounds what it posts.

#include "core/loop/executor.h"

#include "core/loop/thread.h"

#include <errno.h>

struct executor {
	pthread_mutex_t lock;
	pthread_cond_t filled; // the queue, or `stopping`
	pthread_cond_t idle;   // nothing is queued, nothing runs
	struct loop_task *first, **end;
	unsigned queued, running; // tasks
	bool stopping;
	const char *name;
	unsigned thread_count, threads_max;
	pthread_t threads[];
};

static struct loop_task *take_task(struct executor *executor)
{
	struct loop_task *task = executor->first;

	if (!task)
		return NULL;
	assert(executor->queued > 0);
	executor->queued -= 1;
	executor->first = task->next;
	if (!executor->first)
		executor->end = &executor->first;
	return task;
}

// Called with the lock held, and returns with it held. The task may be freed memory after fn().
static void run_unlocked(struct executor *executor, struct loop_task *task)
{
	executor->running += 1;
	pthread_mutex_unlock(&executor->lock);
	task->fn(task);
	pthread_mutex_lock(&executor->lock);
	executor->running -= 1;
	if (executor->running == 0 && !executor->first)
		pthread_cond_broadcast(&executor->idle);
}

static void *run_tasks(void *ctx)
{
	struct executor *executor = ctx;

	pthread_mutex_lock(&executor->lock);
	for (;;) {
		struct loop_task *task = take_task(executor);

		if (task)
			run_unlocked(executor, task);
		else if (executor->stopping)
			break;
		else
			pthread_cond_wait(&executor->filled, &executor->lock);
	}
	pthread_mutex_unlock(&executor->lock);
	return NULL;
}

// Called with the lock held, or before another thread knows the executor.
static int add_thread(struct executor *executor)
{
	int r;

	assert(executor->thread_count < executor->threads_max);
	r = thread_start(executor->name, run_tasks, executor,
			 &executor->threads[executor->thread_count]);
	if (r == 0)
		executor->thread_count += 1;
	return r;
}

// A thread that has been started or woken and has not taken its task yet is free: each queued task
// has one of these.
static bool is_short_of_threads(const struct executor *executor)
{
	return executor->queued > executor->thread_count - executor->running &&
	       executor->thread_count < executor->threads_max;
}

int executor_new(const char *name, unsigned threads_max, struct executor **ret)
{
	struct executor *executor =
		calloc(1, sizeof *executor + threads_max * sizeof *executor->threads);
	int r;

	assert(threads_max);
	if (!executor)
		return -ENOMEM;
	pthread_mutex_init(&executor->lock, NULL);
	pthread_cond_init(&executor->filled, NULL);
	pthread_cond_init(&executor->idle, NULL);
	executor->end = &executor->first;
	executor->name = name;
	executor->threads_max = threads_max;
	r = add_thread(executor);
	if (r < 0) {
		executor_free(executor);
		return r;
	}
	*ret = executor;
	return 0;
}

void executor_post(struct executor *executor, struct loop_task *task)
{
	assert(task->fn);
	task->next = NULL;
	pthread_mutex_lock(&executor->lock);
	assert(!executor->stopping);
	*executor->end = task;
	executor->end = &task->next;
	executor->queued += 1;
	if (is_short_of_threads(executor))
		add_thread(executor); // when there is none, the task waits for those that run
	pthread_cond_signal(&executor->filled);
	pthread_mutex_unlock(&executor->lock);
}

void executor_drain(struct executor *executor)
{
	pthread_mutex_lock(&executor->lock);
	while (executor->first || executor->running)
		pthread_cond_wait(&executor->idle, &executor->lock);
	pthread_mutex_unlock(&executor->lock);
}

// Also for an executor whose first thread could not be started. Tasks that are queued still run; a
// task may not free its own executor.
void executor_free(struct executor *executor)
{
	if (!executor)
		return;
	pthread_mutex_lock(&executor->lock);
	executor->stopping = true;
	pthread_cond_broadcast(&executor->filled);
	pthread_mutex_unlock(&executor->lock);
	for (unsigned i = 0; i < executor->thread_count; ++i)
		pthread_join(executor->threads[i], NULL);
	assert(!executor->first && !executor->running);
	assert(executor->queued == 0);
	pthread_cond_destroy(&executor->idle);
	pthread_cond_destroy(&executor->filled);
	pthread_mutex_destroy(&executor->lock);
	free(executor);
}
