#include "adapters/kafka/client/task.h"

#include <errno.h>
#include <semaphore.h>

// A thread with the questions that wait for it.
struct asker {
	struct adapter *adapter;
	const char *name;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t waiting;
	struct kafka_question *first, **last;
	bool started, stopping;
};

struct kafka_questions {
	struct asker asker;
	struct loop *aside;
	pthread_t aside_thread;
	bool aside_runs, leaving; // leaving: atomic
};

// ---- blocking questions

static void *asker_run(void *arg)
{
	struct asker *asker = arg;

	pthread_setname_np(pthread_self(), asker->name);
	pthread_mutex_lock(&asker->lock);
	while (asker->first || !asker->stopping) {
		struct kafka_question *question = asker->first;

		if (!question) {
			pthread_cond_wait(&asker->waiting, &asker->lock);
			continue;
		}
		asker->first = question->next;
		if (!asker->first)
			asker->last = &asker->first;
		pthread_mutex_unlock(&asker->lock);
		question->run(asker->adapter, question);
		pthread_mutex_lock(&asker->lock);
	}
	pthread_mutex_unlock(&asker->lock);
	return NULL;
}

static int asker_start(struct asker *asker, struct adapter *adapter, const char *name)
{
	int r;

	asker->adapter = adapter;
	asker->name = name;
	asker->last = &asker->first;
	pthread_mutex_init(&asker->lock, NULL);
	pthread_cond_init(&asker->waiting, NULL);
	r = -pthread_create(&asker->thread, NULL, asker_run, asker);
	asker->started = r == 0;
	return r;
}

static void asker_stop(struct asker *asker)
{
	if (!asker->started)
		return;
	pthread_mutex_lock(&asker->lock);
	asker->stopping = true;
	pthread_cond_signal(&asker->waiting);
	pthread_mutex_unlock(&asker->lock);
	pthread_join(asker->thread, NULL);
	pthread_cond_destroy(&asker->waiting);
	pthread_mutex_destroy(&asker->lock);
}

static void asker_put(struct asker *asker, struct kafka_question *question)
{
	question->next = NULL;
	pthread_mutex_lock(&asker->lock);
	*asker->last = question;
	asker->last = &question->next;
	pthread_cond_signal(&asker->waiting);
	pthread_mutex_unlock(&asker->lock);
}

// ---- aside

static void *aside_run(void *arg)
{
	pthread_setname_np(pthread_self(), "kafka-admin");
	loop_run(arg);
	return NULL;
}

static int aside_start(struct kafka_questions *questions)
{
	int r = loop_new("kafka-admin", &questions->aside);

	if (r == 0)
		r = -pthread_create(&questions->aside_thread, NULL, aside_run, questions->aside);
	questions->aside_runs = r == 0;
	return r;
}

static void aside_stop(struct kafka_questions *questions)
{
	if (questions->aside_runs) {
		loop_stop(questions->aside);
		pthread_join(questions->aside_thread, NULL);
	}
	if (questions->aside)
		loop_free(questions->aside);
}

struct barrier {
	struct loop_task task;
	sem_t passed;
};

static void barrier_pass(struct loop_task *task)
{
	sem_post(&CONTAINER_OF(task, struct barrier, task)->passed);
}

void kafka_aside_drain(struct adapter *adapter)
{
	struct barrier barrier = {.task.fn = barrier_pass};

	if (!adapter->questions || !adapter->questions->aside_runs)
		return;
	__atomic_store_n(&adapter->questions->leaving, true, __ATOMIC_RELEASE);
	sem_init(&barrier.passed, 0, 0);
	loop_post(adapter->questions->aside, &barrier.task);
	while (sem_wait(&barrier.passed) < 0)
		;
	sem_destroy(&barrier.passed);
}

bool kafka_leaving(struct adapter *adapter)
{
	return __atomic_load_n(&adapter->questions->leaving, __ATOMIC_ACQUIRE);
}

static void question_run(struct loop_task *task)
{
	struct kafka_question *question = CONTAINER_OF(task, struct kafka_question, task);

	question->run(question->adapter, question);
}

void kafka_ask_aside(struct adapter *adapter, struct kafka_question *question)
{
	question->adapter = adapter;
	question->task.fn = question_run;
	loop_post(adapter->questions->aside, &question->task);
}

struct loop *kafka_aside(struct adapter *adapter)
{
	return adapter->questions->aside;
}

// ---- both

int kafka_questions_start(struct adapter *adapter)
{
	int r;

	adapter->questions = calloc(1, sizeof *adapter->questions);
	if (!adapter->questions)
		return -ENOMEM;
	r = asker_start(&adapter->questions->asker, adapter, "kafka-ask");
	if (r == 0)
		r = aside_start(adapter->questions);
	return r;
}

void kafka_questions_stop(struct adapter *adapter)
{
	if (!adapter->questions)
		return;
	aside_stop(adapter->questions);
	asker_stop(&adapter->questions->asker);
	free(adapter->questions);
	adapter->questions = NULL;
}

void kafka_ask(struct adapter *adapter, struct kafka_question *question)
{
	asker_put(&adapter->questions->asker, question);
}
