// Callback threads. Each takes one message at a time, so that a slow callback holds up nothing but
// its own message; what its predecessor decided and the next message cost one turn of the lock.

#include "core/base/clock.h"
#include "core/base/util.h"
#include "sdk/c/src/consumer.h"

#include <errno.h>

#define RUN_AT_ONCE 256u // callbacks in one round of the application's loop

struct push_thread {
	struct mqp_consumer *consumer;
	uint32_t index;
};

static _Thread_local const struct mqp_consumer *inside;

bool push_is_inside(const struct mqp_consumer *consumer)
{
	return inside == consumer;
}

// The next message and what is known about it from now on; under the lock. NULL: none to be run.
static struct mqp_message *push_begin(struct mqp_consumer *consumer, struct slot *slot)
{
	struct mqp_message *message;
	uint64_t visible_ns;

	if (consumer->paused || consumer->closing)
		return NULL;
	message = consumer_pop(consumer);
	if (!message)
		return NULL;
	visible_ns = message->delivery->subscription->visibility_ms * MS_NS;
	slot->message = message;
	slot->began_ns = clock_now_ns();
	slot->extend_ns = message->delivery->received_ns + visible_ns / 2;
	return message;
}

// Applies a verdict; under the lock. False: the application keeps the message.
static bool push_end(struct slot *slot, struct mqp_message *message, enum mqp_verdict verdict)
{
	// A message that was kept may be gone already.
	slot->message = NULL;
	switch (verdict) {
	case MQP_VERDICT_ACK: delivery_settle(message, MQP_ACK, 0); break;
	case MQP_VERDICT_NACK: delivery_settle(message, MQP_NACK, MQP_NACK_SCHEDULE); break;
	case MQP_VERDICT_REJECT: delivery_settle(message, MQP_REJECT, 0); break;
	case MQP_VERDICT_KEEP: return false;
	case MQP_VERDICT_SETTLED:
	case MQP_VERDICT_RELEASE:
	default: delivery_settle(message, MQP_RELEASE, 0); break;
	}
	return true;
}

static enum mqp_verdict push_call(struct mqp_consumer *consumer, struct mqp_message *message)
{
	return consumer->config.callback(message, consumer->config.arg);
}

static void *push_main(void *arg)
{
	struct push_thread *thread = arg;
	struct mqp_consumer *consumer = thread->consumer;
	struct slot *slot = &consumer->slots[thread->index];

	free(thread);
	inside = consumer;
	pthread_mutex_lock(&consumer->lock);
	while (!consumer->stopping) {
		struct mqp_message *message = push_begin(consumer, slot);
		enum mqp_verdict verdict;
		bool over;

		if (!message) {
			pthread_cond_wait(&consumer->work, &consumer->lock);
			continue;
		}
		pthread_mutex_unlock(&consumer->lock);
		verdict = push_call(consumer, message);
		pthread_mutex_lock(&consumer->lock);
		over = push_end(slot, message, verdict);
		if (over) {
			// Its settle holds no pointer to it; the last of a frame frees memory.
			pthread_mutex_unlock(&consumer->lock);
			delivery_unref(message->delivery);
			pthread_mutex_lock(&consumer->lock);
		}
	}
	pthread_mutex_unlock(&consumer->lock);
	return NULL;
}

void push_run_some(struct mqp_consumer *consumer)
{
	struct slot *slot = consumer->slots;

	pthread_mutex_lock(&consumer->lock);
	for (unsigned i = 0; i < RUN_AT_ONCE; ++i) {
		struct mqp_message *message = push_begin(consumer, slot);
		enum mqp_verdict verdict;
		bool over;

		if (!message)
			break;
		pthread_mutex_unlock(&consumer->lock);
		verdict = push_call(consumer, message);
		pthread_mutex_lock(&consumer->lock);
		over = push_end(slot, message, verdict);
		pthread_mutex_unlock(&consumer->lock);
		if (over)
			delivery_unref(message->delivery);
		pthread_mutex_lock(&consumer->lock);
	}
	if (consumer->first && !consumer->paused && !consumer->closing)
		consumer_post(consumer);
	pthread_mutex_unlock(&consumer->lock);
}

static int push_spawn(struct mqp_consumer *consumer)
{
	struct push_thread *thread = malloc(sizeof *thread);
	int r;

	if (!thread)
		return -ENOMEM;
	*thread = (struct push_thread){consumer, consumer->thread_count};
	r = thread_start(&consumer->threads[consumer->thread_count], push_main, thread);
	if (r < 0)
		free(thread);
	else
		++consumer->thread_count;
	return r;
}

int push_start(struct mqp_consumer *consumer)
{
	bool app = consumer->client->settings.config.io == MQP_IO_APP;
	uint32_t wanted = consumer->config.threads;
	int r = 0;

	if (!consumer->config.callback)
		return 0;
	if (wanted == 0 && !app)
		wanted = 1;
	consumer->slots = calloc(MAX(wanted, 1u), sizeof *consumer->slots);
	consumer->threads = calloc(MAX(wanted, 1u), sizeof *consumer->threads);
	if (!consumer->slots || !consumer->threads)
		return -ENOMEM;
	while (r == 0 && consumer->thread_count < wanted)
		r = push_spawn(consumer);
	return r;
}

void push_stop(struct mqp_consumer *consumer)
{
	uint32_t count;

	pthread_mutex_lock(&consumer->lock);
	consumer->stopping = true;
	count = consumer->thread_count;
	consumer->thread_count = 0;
	pthread_cond_broadcast(&consumer->work);
	pthread_mutex_unlock(&consumer->lock);
	for (uint32_t i = 0; i < count; ++i)
		pthread_join(consumer->threads[i], NULL);
}
