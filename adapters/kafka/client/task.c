// Runs blocking calls: one thread with a queue for those that the data plane waits for, and one
// loop for administrative requests.
//
// librdkafka has only blocking calls for some requests. They run here, in order; the data plane's
// thread never runs an operator's request, which may take minutes.
//
// Invariants: a task runs exactly once; stopping runs what waits, then returns. After
// kafka_task_drain_admin() every administrative request that comes is refused by itself
// (kafka_task_is_leaving()). What it does not do: time limits; each call has its own.

#include "adapters/kafka/client/task.h"

#include <errno.h>
#include <semaphore.h>

// A thread with the tasks that wait for it.
struct blocking_worker {
	struct adapter *adapter;
	const char *name;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t waiting;
	struct kafka_task *first, **last;
	bool started, stopping;
};

struct kafka_tasks {
	struct blocking_worker worker;
	struct loop *admin_loop;
	pthread_t admin_thread;
	bool admin_runs, leaving; // leaving: atomic
};

// ---- the blocking worker

static void *worker_run(void *arg)
{
	struct blocking_worker *worker = arg;

	pthread_setname_np(pthread_self(), worker->name);
	pthread_mutex_lock(&worker->lock);
	while (worker->first || !worker->stopping) {
		struct kafka_task *task = worker->first;

		if (!task) {
			pthread_cond_wait(&worker->waiting, &worker->lock);
			continue;
		}
		worker->first = task->next;
		if (!worker->first)
			worker->last = &worker->first;
		pthread_mutex_unlock(&worker->lock);
		task->run(worker->adapter, task);
		pthread_mutex_lock(&worker->lock);
	}
	pthread_mutex_unlock(&worker->lock);
	return NULL;
}

static int worker_start(struct blocking_worker *worker, struct adapter *adapter, const char *name)
{
	int r;

	worker->adapter = adapter;
	worker->name = name;
	worker->last = &worker->first;
	pthread_mutex_init(&worker->lock, NULL);
	pthread_cond_init(&worker->waiting, NULL);
	r = -pthread_create(&worker->thread, NULL, worker_run, worker);
	worker->started = r == 0;
	return r;
}

static void worker_stop(struct blocking_worker *worker)
{
	if (!worker->started)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->stopping = true;
	pthread_cond_signal(&worker->waiting);
	pthread_mutex_unlock(&worker->lock);
	pthread_join(worker->thread, NULL);
	pthread_cond_destroy(&worker->waiting);
	pthread_mutex_destroy(&worker->lock);
}

static void worker_put(struct blocking_worker *worker, struct kafka_task *task)
{
	task->next = NULL;
	pthread_mutex_lock(&worker->lock);
	*worker->last = task;
	worker->last = &task->next;
	pthread_cond_signal(&worker->waiting);
	pthread_mutex_unlock(&worker->lock);
}

// ---- the admin loop

static void *admin_run(void *arg)
{
	pthread_setname_np(pthread_self(), "kafka-admin");
	loop_run(arg);
	return NULL;
}

static int admin_start(struct kafka_tasks *tasks)
{
	int r = loop_new("kafka-admin", &tasks->admin_loop);

	if (r == 0)
		r = -pthread_create(&tasks->admin_thread, NULL, admin_run, tasks->admin_loop);
	tasks->admin_runs = r == 0;
	return r;
}

static void admin_stop(struct kafka_tasks *tasks)
{
	if (tasks->admin_runs) {
		loop_stop(tasks->admin_loop);
		pthread_join(tasks->admin_thread, NULL);
	}
	if (tasks->admin_loop)
		loop_free(tasks->admin_loop);
}

struct barrier {
	struct loop_task task;
	sem_t passed;
};

static void barrier_pass(struct loop_task *task)
{
	sem_post(&CONTAINER_OF(task, struct barrier, task)->passed);
}

void kafka_task_drain_admin(struct adapter *adapter)
{
	struct barrier barrier = {.task.fn = barrier_pass};

	if (!adapter->tasks || !adapter->tasks->admin_runs)
		return;
	__atomic_store_n(&adapter->tasks->leaving, true, __ATOMIC_RELEASE);
	sem_init(&barrier.passed, 0, 0);
	loop_post(adapter->tasks->admin_loop, &barrier.task);
	while (sem_wait(&barrier.passed) < 0)
		;
	sem_destroy(&barrier.passed);
}

bool kafka_task_is_leaving(struct adapter *adapter)
{
	return __atomic_load_n(&adapter->tasks->leaving, __ATOMIC_ACQUIRE);
}

static void admin_task_run(struct loop_task *loop_task)
{
	struct kafka_task *task = CONTAINER_OF(loop_task, struct kafka_task, loop_task);

	task->run(task->adapter, task);
}

void kafka_task_post_admin(struct adapter *adapter, struct kafka_task *task)
{
	task->adapter = adapter;
	task->loop_task.fn = admin_task_run;
	loop_post(adapter->tasks->admin_loop, &task->loop_task);
}

struct loop *kafka_task_admin_loop(struct adapter *adapter)
{
	return adapter->tasks->admin_loop;
}

// ---- both

int kafka_task_start(struct adapter *adapter)
{
	int r;

	adapter->tasks = calloc(1, sizeof *adapter->tasks);
	if (!adapter->tasks)
		return -ENOMEM;
	r = worker_start(&adapter->tasks->worker, adapter, "kafka-ask");
	if (r == 0)
		r = admin_start(adapter->tasks);
	return r;
}

void kafka_task_stop(struct adapter *adapter)
{
	if (!adapter->tasks)
		return;
	admin_stop(adapter->tasks);
	worker_stop(&adapter->tasks->worker);
	free(adapter->tasks);
	adapter->tasks = NULL;
}

void kafka_task_post_blocking(struct adapter *adapter, struct kafka_task *task)
{
	worker_put(&adapter->tasks->worker, task);
}
