// The I/O side of mqp_pull(): asks for what is ready, or waits for the first message, returns
// unused credit, tells the begin of what came, and hands it to the caller.
//
// The caller keeps its own time. When it has left, the I/O finishes what it began; what comes
// nevertheless waits for the next pull for half of the visibility timeout. A message that may not
// go with the others (a suspect goes alone) is released and comes again with the next pull.
//
// Invariants: a phase is changed only from the phase that was looked at, under the lock; the caller
// gets no message whose begin is not in the socket. All of it runs on the I/O thread.

#include "sdk/c/src/consumer_pull.h"

#include "core/base/util.h"
#include "sdk/c/src/consumer.h"
#include "sdk/c/src/consumer_credit.h"
#include "sdk/c/src/delivery.h"
#include "sdk/c/src/subscription.h"

// Only from the phase that was looked at: meanwhile the caller may have left, or another pull may
// have begun. Each of these wakes the I/O, which then looks again.
static void pull_set(struct mqp_consumer *consumer, enum pull_phase from, enum pull_phase phase,
		     enum mqp_code code)
{
	pthread_mutex_lock(&consumer->lock);
	if (consumer->phase == from) {
		consumer->phase = phase;
		consumer->pull_code = code;
		if (phase == PULL_DONE)
			consumer_changed(consumer);
	}
	pthread_mutex_unlock(&consumer->lock);
}

static void pull_ask(struct mqp_consumer *consumer, bool drain)
{
	struct subscription *subscription = consumer->current;

	credit_totals_ask(&subscription->credit, consumer->pull_max,
			  consumer->config.prefetch_bytes);
	if (drain)
		credit_totals_drain(&subscription->credit);
	consumer_credit_changed(subscription);
}

// There is no subscription to pull from: waits for one, unless the service refuses it for good.
static void pull_without_stream(struct mqp_consumer *consumer, enum pull_phase phase)
{
	enum mqp_code code;

	pthread_mutex_lock(&consumer->lock);
	code = consumer->closing ? MQP_CLOSED : consumer->status;
	pthread_mutex_unlock(&consumer->lock);
	if (code != MQP_OK && !mqp_code_retriable(code))
		pull_set(consumer, phase, PULL_DONE, code);
}

// The caller has left. What is there waits for the next pull, but no suspect keeps the process
// waiting meanwhile.
static void pull_finish(struct mqp_consumer *consumer, enum pull_phase phase)
{
	struct subscription *subscription = consumer->current;

	pthread_mutex_lock(&consumer->lock);
	if (consumer->hand.first)
		barrier_drop(consumer->hand.barrier, consumer->hand.first);
	pthread_mutex_unlock(&consumer->lock);
	if (subscription_is_open(subscription) && phase == PULL_LEFT)
		consumer_credit_return(subscription);
	else if (subscription_is_open(subscription) && !subscription->credit.draining)
		pull_ask(consumer, true);
	pull_set(consumer, phase, PULL_NONE, MQP_TIMEOUT);
}

// ---- Handing out -----------------------------------------------------------------------------

// Releases what lies behind the first `count`; under the lock.
static struct mqp_message *release_behind(struct mqp_consumer *consumer, size_t count)
{
	struct hand *hand = &consumer->hand;
	struct mqp_message *released = NULL;
	struct hand_item *kept = NULL, *item = hand->first;

	for (size_t i = 0; i < count; ++i, item = item->next)
		kept = item;
	while ((item = kept ? kept->next : hand->first)) {
		struct mqp_message *message = CONTAINER_OF(item, struct mqp_message, item);

		hand_take_behind(hand, kept);
		delivery_settle(message, MQP_RELEASE, 0);
		message->next = released;
		released = message;
	}
	return released;
}

// A caller that wakes late finds less than it was told, never what is gone or was not told.
void consumer_pull_forget(struct mqp_consumer *consumer, const struct subscription *subscription)
{
	const struct hand_item *item = consumer->hand.first;
	size_t ready = consumer->pull_ready;

	for (; ready && item; --ready, item = item->next)
		consumer->pull_ready -= item->sub == &subscription->sub;
}

static void messages_unref(struct mqp_message *message)
{
	struct mqp_message *next;

	for (; message; message = next) {
		next = message->next;
		delivery_unref(message->delivery);
	}
}

// When a suspect has waited for so long in this hand that it goes beside others.
static uint64_t beside_ns(const struct hand_item *item)
{
	return item->received_ns + item->sub->visibility_ns / 4;
}

static size_t plan_pull(struct mqp_consumer *consumer, uint64_t now_ns)
{
	struct hand *hand = &consumer->hand;
	struct hand_item *first = hand->first;

	if (first && first->suspect && !first->last && now_ns >= beside_ns(first)) {
		barrier_drop(hand->barrier, first);
		first->beside = true;
	}
	return hand_plan_pull(hand, consumer->pull_max, now_ns);
}

// What came is told; when that is in the socket, the caller has it.
static void pull_hand_out(struct mqp_consumer *consumer)
{
	uint64_t now_ns = consumer->client->now_ns;
	struct mqp_message *released = NULL;
	size_t count;

	pthread_mutex_lock(&consumer->lock);
	count = consumer->phase == PULL_TELLING ? plan_pull(consumer, now_ns) : 0;
	if (count > 0 &&
	    hand_pull(&consumer->hand, count, now_ns, consumer->config.extend_max_ms * MS_NS)) {
		consumer->pull_ready = count;
		released = release_behind(consumer, count);
		consumer->phase = PULL_DONE;
		consumer_changed(consumer);
	}
	pthread_mutex_unlock(&consumer->lock);
	messages_unref(released);
}

// ---- Steps -----------------------------------------------------------------------------------

static void pull_tell(struct mqp_consumer *consumer)
{
	pthread_mutex_lock(&consumer->lock);
	if (consumer->phase != PULL_LEFT && consumer->phase != PULL_LEFT_UNASKED) {
		consumer->phase = PULL_TELLING;
		consumer->pull_code = MQP_TIMEOUT;
	}
	pthread_mutex_unlock(&consumer->lock);
	pull_hand_out(consumer);
}

// One step of the pull, from its phase and what has happened. Called in every round; a step that
// leads to another one wakes the I/O again.
void consumer_pull_step(struct mqp_consumer *consumer)
{
	enum pull_phase phase;
	bool late, got, closing;

	pthread_mutex_lock(&consumer->lock);
	phase = consumer->phase;
	got = consumer->hand.first != NULL;
	closing = consumer->closing;
	late = consumer->client->now_ns >= consumer->pull_return_ns;
	pthread_mutex_unlock(&consumer->lock);
	if (phase == PULL_NONE || phase == PULL_DONE)
		return;
	if (phase == PULL_LEFT || phase == PULL_LEFT_UNASKED) {
		pull_finish(consumer, phase);
	} else if (phase == PULL_TELLING && got) {
		pull_hand_out(consumer);
	} else if (phase == PULL_TELLING) {
		consumer_pull_restart(consumer); // what came is gone with its subscription
		consumer_wake(consumer);
	} else if (!subscription_is_open(consumer->current)) {
		if (got)
			pull_tell(consumer);
		else
			pull_without_stream(consumer, phase);
	} else if (closing) {
		consumer_credit_return(consumer->current);
		pull_set(consumer, phase, PULL_DONE, MQP_CLOSED);
	} else if (phase == PULL_START && !consumer->current->credit.draining) {
		pull_ask(consumer, true);
		pull_set(consumer, phase, PULL_ASKED, MQP_TIMEOUT);
	} else if (phase == PULL_WAITING && (got || late)) {
		consumer_credit_return(consumer->current);
		if (consumer->current->credit.draining)
			pull_set(consumer, phase, PULL_DRAINING, MQP_TIMEOUT);
		else if (got)
			pull_tell(consumer);
		else
			pull_set(consumer, phase, PULL_DONE, MQP_TIMEOUT);
	}
}

// DRAINED has come: everything that was ready is here.
void consumer_pull_drained(struct mqp_consumer *consumer, struct subscription *subscription)
{
	enum pull_phase phase;
	bool got, late;

	pthread_mutex_lock(&consumer->lock);
	phase = consumer->phase;
	got = consumer->hand.first != NULL;
	late = consumer->client->now_ns >= consumer->pull_return_ns;
	pthread_mutex_unlock(&consumer->lock);
	// Late and with nothing to hand over, the caller leaves at its deadline.
	if ((phase == PULL_ASKED || phase == PULL_DRAINING) && got) {
		pull_tell(consumer);
	} else if (phase == PULL_ASKED && !late && subscription == consumer->current) {
		pull_ask(consumer, false);
		pull_set(consumer, phase, PULL_WAITING, MQP_TIMEOUT);
	} else {
		consumer_pull_step(consumer);
	}
}

void consumer_pull_restart(struct mqp_consumer *consumer)
{
	pthread_mutex_lock(&consumer->lock);
	if (consumer->phase == PULL_LEFT || consumer->phase == PULL_LEFT_UNASKED)
		consumer->phase = PULL_NONE;
	else if (consumer->phase != PULL_NONE && consumer->phase != PULL_DONE)
		consumer->phase = PULL_START;
	pthread_mutex_unlock(&consumer->lock);
}

void consumer_pull_cut(struct mqp_consumer *consumer)
{
	pthread_mutex_lock(&consumer->lock);
	if (consumer->phase == PULL_LEFT || consumer->phase == PULL_LEFT_UNASKED) {
		consumer->phase = PULL_NONE;
	} else if (consumer->phase != PULL_NONE && consumer->phase != PULL_DONE) {
		consumer->phase = PULL_DONE;
		consumer->pull_code = MQP_CLOSED;
	}
	pthread_mutex_unlock(&consumer->lock);
}

uint64_t consumer_pull_next_ns(const struct mqp_consumer *consumer)
{
	uint64_t at_ns = UINT64_MAX;

	if (consumer->phase == PULL_WAITING)
		at_ns = consumer->pull_return_ns;
	else if (consumer->phase == PULL_TELLING && consumer->hand.first)
		at_ns = beside_ns(consumer->hand.first);
	return at_ns > consumer->client->now_ns ? at_ns : UINT64_MAX;
}
