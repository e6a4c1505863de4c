// How many messages a consumer accepts, and giving back those that wait: new credit, credit
// returned, messages that no callback will take soon.
//
// All of it runs on the I/O thread. A message can only be given back when no more are on their way,
// so credit is returned first, and the release follows when the proxy has confirmed that (DRAINED).
//
// Nothing is sent here: consumer_report.c tells the proxy. The size of the window is the hand's
// (hand_window()).

#include "sdk/c/src/consumer_credit.h"

#include "core/base/util.h"
#include "sdk/c/src/consumer.h"
#include "sdk/c/src/consumer_pull.h"
#include "sdk/c/src/delivery.h"
#include "sdk/c/src/subscription.h"

// ---- Credit ----------------------------------------------------------------------------------

// Records whether messages may still come; mqp_consumer_close waits for that.
void consumer_credit_note(struct subscription *subscription)
{
	struct mqp_consumer *consumer = subscription->consumer;
	const struct credit_totals *credit = &subscription->credit;

	pthread_mutex_lock(&consumer->lock);
	subscription->owed =
		credit->draining || credit->granted_messages > credit->delivered_messages;
	consumer_changed(consumer);
	pthread_mutex_unlock(&consumer->lock);
}

void consumer_credit_changed(struct subscription *subscription)
{
	subscription->credit_due = true;
	consumer_credit_note(subscription);
}

static bool has_credit_out(const struct subscription *subscription)
{
	const struct credit_totals *credit = &subscription->credit;

	return credit->draining || credit->granted_messages > credit->delivered_messages;
}

// Gives back what is granted and not used.
void consumer_credit_return(struct subscription *subscription)
{
	if (!subscription_is_open(subscription) || subscription->credit.draining ||
	    !has_credit_out(subscription))
		return;
	credit_totals_drain(&subscription->credit);
	consumer_credit_changed(subscription);
}

// When the oldest callback began that runs; under the lock. 0: none runs.
static uint64_t slots_oldest_ns(const struct mqp_consumer *consumer)
{
	uint64_t oldest_ns = 0;

	for (uint32_t i = 0; i < consumer->thread_count; ++i) {
		uint64_t began_ns = consumer->slots[i].began_ns;

		if (began_ns && (!oldest_ns || began_ns < oldest_ns))
			oldest_ns = began_ns;
	}
	return oldest_ns;
}

// All threads have been busy for so long that new messages would only wait.
static bool is_stuck(const struct mqp_consumer *consumer, const struct subscription *subscription)
{
	const struct hand *hand = &consumer->hand;

	return atomic_load(&hand->running) >= hand->workers &&
	       consumer->client->now_ns >= hand->begun_ns + subscription->sub.visibility_ns / 2;
}

void consumer_credit_top_up(struct mqp_consumer *consumer)
{
	struct subscription *subscription = consumer->current;
	uint64_t messages, bytes, window;
	bool paused, stuck, closing;

	if (!subscription_is_open(subscription))
		return;
	pthread_mutex_lock(&consumer->lock);
	messages = subscription->held_messages;
	bytes = subscription->held_bytes;
	window = hand_window(&consumer->hand, slots_oldest_ns(consumer), consumer->client->now_ns);
	paused = consumer->paused;
	closing = consumer->closing;
	stuck = is_stuck(consumer, subscription);
	pthread_mutex_unlock(&consumer->lock);
	if (closing)
		consumer_credit_return(subscription);
	else if (paused)
		consumer_credit_give_back(subscription, GIVE_PAUSED);
	else if (!stuck && credit_totals_top_up(&subscription->credit, window,
						consumer->config.prefetch_bytes, messages, bytes))
		consumer_credit_changed(subscription);
}

// ---- Giving back -----------------------------------------------------------------------------

// The whole of what came over the subscription and waits; a part from its front would come again
// behind what stays.
static void release_waiting(struct subscription *subscription)
{
	struct mqp_consumer *consumer = subscription->consumer;
	struct hand_item *item;
	struct mqp_message *released = NULL, *next;

	pthread_mutex_lock(&consumer->lock);
	consumer_pull_forget(consumer, subscription);
	while ((item = hand_remove(&consumer->hand, &subscription->sub))) {
		struct mqp_message *message = CONTAINER_OF(item, struct mqp_message, item);

		delivery_settle(message, MQP_RELEASE, 0);
		message->next = released;
		released = message;
	}
	consumer_changed(consumer);
	pthread_mutex_unlock(&consumer->lock);
	for (; released; released = next) {
		next = released->next;
		delivery_unref(released->delivery);
	}
}

static bool still_wanted(struct subscription *subscription)
{
	struct mqp_consumer *consumer = subscription->consumer;
	bool wanted;

	pthread_mutex_lock(&consumer->lock);
	wanted = subscription->give == GIVE_LEFT ||
		 (subscription->give == GIVE_PAUSED && consumer->paused) ||
		 (subscription->give == GIVE_STUCK &&
		  consumer->hand.begins == subscription->give_begins);
	pthread_mutex_unlock(&consumer->lock);
	return wanted;
}

void consumer_credit_give_back_drained(struct subscription *subscription)
{
	if (subscription->give != GIVE_NOTHING && still_wanted(subscription))
		release_waiting(subscription);
	subscription->give = GIVE_NOTHING;
}

// `give_begins` is the number of callbacks that have begun by now: if one begins before DRAINED
// arrives, the threads are not stuck any more and nothing is given back.
void consumer_credit_give_back(struct subscription *subscription, enum give_back why)
{
	struct mqp_consumer *consumer = subscription->consumer;

	pthread_mutex_lock(&consumer->lock);
	if (subscription->give == GIVE_NOTHING)
		subscription->give_begins = consumer->hand.begins;
	pthread_mutex_unlock(&consumer->lock);
	subscription->give = why;
	consumer_credit_return(subscription);
	if (!has_credit_out(subscription))
		consumer_credit_give_back_drained(subscription);
}
