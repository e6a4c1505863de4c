// Callback threads of a consumer.
//
// Each takes one message at a time, so that a slow callback delays nothing but its own message. The
// verdict of one callback and the next message cost one hold of the lock. A callback begins when
// its begin is in the socket (hand.h). A thread that finds nothing that may begin wakes the I/O,
// which reports what is finished and tells what is next.
//
// Invariants: callbacks run without the lock; a thread touches a message after its callback only if
// the application did not keep it. Without threads (MQP_IO_APP) the loop runs callbacks itself, at
// most RUN_AT_ONCE in a round.

#include "sdk/c/src/push.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "sdk/c/src/consumer.h"
#include "sdk/c/src/delivery.h"
#include "sdk/c/src/subscription.h"

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
static struct mqp_message *push_begin(struct mqp_consumer *consumer, struct slot *slot,
				      uint64_t now_ns)
{
	struct hand_item *item;

	if (consumer->paused || consumer->closing)
		return NULL;
	item = hand_begin(&consumer->hand, now_ns, consumer->config.extend_max_ms * MS_NS);
	if (!item)
		return NULL;
	*slot = (struct slot){.message = CONTAINER_OF(item, struct mqp_message, item),
			      .sub = item->sub,
			      .number = item->number,
			      .began_ns = now_ns};
	return slot->message;
}

// Applies a verdict; under the lock. False: the application keeps the message.
static bool push_settle(struct mqp_message *message, enum mqp_verdict verdict)
{
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

// A message that was kept may be gone already.
static bool push_end(struct mqp_consumer *consumer, struct slot *slot, struct mqp_message *message,
		     enum mqp_verdict verdict, uint64_t now_ns)
{
	bool over = push_settle(message, verdict);

	hand_end(&consumer->hand, slot->sub, slot->number, slot->hangs, now_ns - slot->began_ns);
	slot->message = NULL;
	slot->began_ns = 0;
	return over;
}

static bool has_settles(const struct mqp_consumer *consumer)
{
	LIST_FOREACH(node, next, &consumer->subscriptions)
	if (LIST_ENTRY(node, struct subscription, node)->settle_queue.open.count)
		return true;
	return false;
}

// Has the I/O report before a wait; under the lock.
static void push_report_idle(struct mqp_consumer *consumer)
{
	if (consumer->hand.first || has_settles(consumer))
		consumer_post(consumer);
}

// And after a callback, when that is worth it: short ones share a report.
static void push_report(struct mqp_consumer *consumer, const struct mqp_message *message)
{
	const struct settle_queue *queue = &message->delivery->subscription->settle_queue;

	if (list_empty(&queue->sent) || queue->open.messages >= hand_report_at(&consumer->hand))
		consumer_post(consumer);
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

	uint64_t now_ns = clock_now_ns();

	free(thread);
	inside = consumer;
	pthread_mutex_lock(&consumer->lock);
	while (!consumer->stopping) {
		struct mqp_message *message = push_begin(consumer, slot, now_ns);
		enum mqp_verdict verdict;
		bool over;

		if (!message) {
			push_report_idle(consumer);
			pthread_cond_wait(&consumer->work, &consumer->lock);
			now_ns = clock_now_ns();
			continue;
		}
		pthread_mutex_unlock(&consumer->lock);
		verdict = push_call(consumer, message);
		now_ns = clock_now_ns();
		pthread_mutex_lock(&consumer->lock);
		over = push_end(consumer, slot, message, verdict, now_ns);
		if (over) {
			push_report(consumer, message);
			// Its settle holds no pointer to it; the last of a frame frees memory.
			pthread_mutex_unlock(&consumer->lock);
			delivery_unref(message->delivery);
			pthread_mutex_lock(&consumer->lock);
		}
	}
	pthread_mutex_unlock(&consumer->lock);
	return NULL;
}

// For an application that runs the loop: callbacks run inside the round, a bounded number, and the
// rest in the next one. A callback may settle or free its message, so the lock is released around
// it.
void push_run_some(struct mqp_consumer *consumer)
{
	struct slot *slot = consumer->slots;
	uint64_t now_ns = clock_now_ns();

	pthread_mutex_lock(&consumer->lock);
	for (unsigned i = 0; i < RUN_AT_ONCE; ++i) {
		struct mqp_message *message = push_begin(consumer, slot, now_ns);
		enum mqp_verdict verdict;
		bool over;

		if (!message)
			break;
		pthread_mutex_unlock(&consumer->lock);
		verdict = push_call(consumer, message);
		now_ns = clock_now_ns();
		pthread_mutex_lock(&consumer->lock);
		over = push_end(consumer, slot, message, verdict, now_ns);
		pthread_mutex_unlock(&consumer->lock);
		if (over)
			delivery_unref(message->delivery);
		pthread_mutex_lock(&consumer->lock);
	}
	if (hand_can_begin(&consumer->hand) && !consumer->paused && !consumer->closing)
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
	r = client_thread_start(&consumer->threads[consumer->thread_count], push_main, thread);
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

// `thread_count` is set to 0 before the threads are joined, so that a second call joins none. Not
// for a callback: it would wait for itself.
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
