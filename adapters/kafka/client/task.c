// Runs blocking calls: an executor with one thread for those that the data plane waits for, and one
// loop for administrative requests.
//
// librdkafka has only blocking calls for some requests. They run here, in order; the data plane's
// thread never runs an operator's request, which may take minutes.
//
// Invariants: a task runs exactly once; stopping runs what waits, then returns. After
// kafka_task_drain_admin() every administrative request that comes is refused by itself
// (kafka_task_is_leaving()). What it does not do: time limits; each call has its own.

#include "adapters/kafka/client/task.h"

#include "core/loop/executor.h"
#include "core/loop/loop_thread.h"

#include <errno.h>

struct kafka_tasks {
	struct executor *blocking_worker;
	struct loop *admin_loop;
	struct loop_thread admin_thread;
	bool leaving; // atomic
};

int kafka_task_start(struct adapter *adapter)
{
	struct kafka_tasks *tasks = adapter->tasks = calloc(1, sizeof *tasks);
	int r;

	if (!tasks)
		return -ENOMEM;
	r = executor_new("kafka-ask", 1, &tasks->blocking_worker);
	if (r == 0)
		r = loop_new("kafka-admin", &tasks->admin_loop);
	if (r == 0)
		r = loop_thread_start(&tasks->admin_thread, tasks->admin_loop);
	return r;
}

// The administrative requests that wait run first.
void kafka_task_stop(struct adapter *adapter)
{
	struct kafka_tasks *tasks = adapter->tasks;

	if (!tasks)
		return;
	loop_thread_stop(&tasks->admin_thread);
	if (tasks->admin_loop)
		loop_free(tasks->admin_loop);
	executor_free(tasks->blocking_worker);
	free(tasks);
	adapter->tasks = NULL;
}

static void run_task(struct loop_task *loop_task)
{
	struct kafka_task *task = CONTAINER_OF(loop_task, struct kafka_task, task);

	task->run(task->adapter, task);
}

void kafka_task_post_blocking(struct adapter *adapter, struct kafka_task *task)
{
	task->adapter = adapter;
	task->task.fn = run_task;
	executor_post(adapter->tasks->blocking_worker, &task->task);
}

// ---- the admin loop

void kafka_task_post_admin(struct adapter *adapter, struct kafka_task *task)
{
	task->adapter = adapter;
	task->task.fn = run_task;
	loop_post(adapter->tasks->admin_loop, &task->task);
}

struct loop *kafka_task_admin_loop(struct adapter *adapter)
{
	return adapter->tasks->admin_loop;
}

void kafka_task_drain_admin(struct adapter *adapter)
{
	if (!adapter->tasks || !adapter->tasks->admin_thread.running)
		return;
	__atomic_store_n(&adapter->tasks->leaving, true, __ATOMIC_RELEASE);
	loop_thread_drain(&adapter->tasks->admin_thread);
}

bool kafka_task_is_leaving(struct adapter *adapter)
{
	return __atomic_load_n(&adapter->tasks->leaving, __ATOMIC_ACQUIRE);
}
