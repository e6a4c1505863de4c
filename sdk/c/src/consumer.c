// What every part of a consumer uses: its references, its place among the work of the I/O thread,
// and the wake-up of threads that wait for a change.
//
// Not here: the public functions (consumer_api.c), the I/O (consumer_io.c), callback threads
// (push.c).

#include "sdk/c/src/consumer.h"
#include "sdk/c/src/message.h"

struct mqp_consumer *consumer_ref(struct mqp_consumer *consumer)
{
	atomic_fetch_add(&consumer->refs, 1);
	return consumer;
}

void consumer_unref(struct mqp_consumer *consumer)
{
	if (!consumer || atomic_fetch_sub(&consumer->refs, 1) != 1)
		return;
	pthread_cond_destroy(&consumer->work);
	pthread_cond_destroy(&consumer->changed);
	pthread_mutex_destroy(&consumer->lock);
	client_unref(consumer->client);
	free(consumer->slots);
	free(consumer->threads);
	free(consumer->group);
	free(consumer);
}

void consumer_post(struct mqp_consumer *consumer)
{
	if (!consumer->detached)
		client_post(consumer->client, &consumer->member.work);
}

// Later in this round.
void consumer_wake(struct mqp_consumer *consumer)
{
	pthread_mutex_lock(&consumer->lock);
	consumer_post(consumer);
	pthread_mutex_unlock(&consumer->lock);
}

bool consumer_pushes(const struct mqp_consumer *consumer)
{
	return consumer->config.callback != NULL;
}

// Under the lock.
void consumer_changed(struct mqp_consumer *consumer)
{
	uint64_t held = atomic_load(&consumer->hand.held);

	client_count(consumer->client, MQP_STAT_IN_HAND, held - consumer->counted_in_hand);
	consumer->counted_in_hand = held;
	pthread_cond_broadcast(&consumer->changed);
}

struct mqp_message *consumer_pop(struct mqp_consumer *consumer)
{
	struct hand_item *item = hand_pop(&consumer->hand);

	return item ? CONTAINER_OF(item, struct mqp_message, item) : NULL;
}
