#include "adapters/kafka/call.h"

#include <errno.h>

struct kafka_questions {
	struct adapter *adapter;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t waiting;
	struct kafka_question *first, **last;
	bool stopping;
};

// ---- admin calls

rd_kafka_AdminOptions_t *kafka_call_options(struct adapter *adapter, rd_kafka_admin_op_t operation,
					    struct kafka_call *call, int timeout_ms)
{
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(client_handle(adapter->producer), operation);
	char text[128];

	rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text, sizeof text);
	rd_kafka_AdminOptions_set_opaque(options, call);
	return options;
}

void kafka_call_event(rd_kafka_event_t *event)
{
	struct kafka_call *call = rd_kafka_event_opaque(event);

	if (call)
		call->answered(call, event);
}

// ---- blocking questions

static void *questions_run(void *arg)
{
	struct kafka_questions *questions = arg;

	pthread_setname_np(pthread_self(), "kafka-ask");
	pthread_mutex_lock(&questions->lock);
	while (questions->first || !questions->stopping) {
		struct kafka_question *question = questions->first;

		if (!question) {
			pthread_cond_wait(&questions->waiting, &questions->lock);
			continue;
		}
		questions->first = question->next;
		if (!questions->first)
			questions->last = &questions->first;
		pthread_mutex_unlock(&questions->lock);
		question->run(questions->adapter, question);
		pthread_mutex_lock(&questions->lock);
	}
	pthread_mutex_unlock(&questions->lock);
	return NULL;
}

int kafka_questions_start(struct adapter *adapter)
{
	struct kafka_questions *questions = calloc(1, sizeof *questions);
	int r;

	if (!questions)
		return -ENOMEM;
	questions->adapter = adapter;
	questions->last = &questions->first;
	pthread_mutex_init(&questions->lock, NULL);
	pthread_cond_init(&questions->waiting, NULL);
	r = -pthread_create(&questions->thread, NULL, questions_run, questions);
	if (r < 0)
		free(questions);
	else
		adapter->questions = questions;
	return r;
}

void kafka_questions_stop(struct adapter *adapter)
{
	struct kafka_questions *questions = adapter->questions;

	if (!questions)
		return;
	pthread_mutex_lock(&questions->lock);
	questions->stopping = true;
	pthread_cond_signal(&questions->waiting);
	pthread_mutex_unlock(&questions->lock);
	pthread_join(questions->thread, NULL);
	pthread_cond_destroy(&questions->waiting);
	pthread_mutex_destroy(&questions->lock);
	free(questions);
	adapter->questions = NULL;
}

void kafka_ask(struct adapter *adapter, struct kafka_question *question)
{
	struct kafka_questions *questions = adapter->questions;

	question->next = NULL;
	pthread_mutex_lock(&questions->lock);
	*questions->last = question;
	questions->last = &question->next;
	pthread_cond_signal(&questions->waiting);
	pthread_mutex_unlock(&questions->lock);
}
