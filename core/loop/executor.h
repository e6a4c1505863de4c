// Threads that do what would hold up a loop: tasks, first in, first out.
//
// A task is the same item that a loop takes (loop.h), so that one can go to an executor and come
// back to its loop with the result.
#pragma once

#include "core/loop/loop.h"

struct executor;

// `name` is the threads', and static. It starts with one thread, and starts another when a task
// finds all of them busy, up to threads_max. With 1 no two tasks run at a time. -errno: there is no
// thread.
int executor_new(const char *name, unsigned threads_max, struct executor **ret);

// Runs task->fn on one of the threads, which then owns the task. @thread any
void executor_post(struct executor *executor, struct loop_task *task);

// Waits until nothing is queued and nothing runs. @thread any but the executor's own
void executor_drain(struct executor *executor);

// Runs what is queued, ends the threads, frees. The caller makes sure that no thread posts any
// more. Accepts NULL.
void executor_free(struct executor *executor);
