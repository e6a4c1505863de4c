// Remembers which incarnations of a topic were deleted here and which topics another client has
// deleted, and makes the epochs of generations.
//
// An epoch is a time in milliseconds with EPOCH_BITS below it, and always above every epoch that
// was read back, even after the clock was set back. Deleted incarnations are remembered in a ring
// of ENDED_TOPICS: opening one that fell out of it is ended by the watcher instead.
//
// Invariant: a topic that is lost has a reference of the adapter's until it is followed by another,
// deleted by us, or the adapter closes. What it does not do: talk to the cluster (topic_mark.c).

#include "adapters/kafka/topic/topic_generation.h"

#include "adapters/kafka/topic/topic.h"
#include "adapters/log/window_text.h"
#include "core/base/clock.h"

#include <unistd.h>

#define ENDED_TOPICS 1024 // the oldest is forgotten: a later opener is told by the watch
#define EPOCH_BITS   20   // openings in a millisecond; far more than there are
#define AWAIT_NS     S_NS // others wait behind the one that waits for it

struct ended_topic {
	uint64_t id, incarnation;
};

// ---- deleted by us

// Under topics_lock. 0: of any topic.
static struct adapter_topic *lost_find(struct adapter *adapter, uint64_t id)
{
	LIST_FOREACH(node, next, &adapter->topics)
	{
		struct adapter_topic *topic = LIST_ENTRY(node, struct adapter_topic, in_adapter);

		if (topic->lost && (!id || topic->model->object.id == id))
			return topic;
	}
	return NULL;
}

static struct ended_topic *ended_find(struct adapter *adapter, const struct topic *topic)
{
	for (size_t i = 0; adapter->ended_topics && i < ENDED_TOPICS; ++i)
		if (adapter->ended_topics[i].id == topic->object.id &&
		    adapter->ended_topics[i].incarnation == topic->incarnation)
			return &adapter->ended_topics[i];
	return NULL;
}

void topic_generation_end(struct adapter *adapter, const struct topic *topic)
{
	struct adapter_topic *lost;

	pthread_mutex_lock(&adapter->topics_lock);
	lost = lost_find(adapter, topic->object.id);
	if (lost)
		lost->lost = false;
	if (!adapter->ended_topics)
		adapter->ended_topics = calloc(ENDED_TOPICS, sizeof *adapter->ended_topics);
	if (adapter->ended_topics && !ended_find(adapter, topic))
		adapter->ended_topics[adapter->ended_next++ % ENDED_TOPICS] =
			(struct ended_topic){topic->object.id, topic->incarnation};
	pthread_mutex_unlock(&adapter->topics_lock);
	if (lost)
		kafka_topic_close(lost);
}

void topic_generation_begin(struct adapter *adapter, const struct topic *topic)
{
	struct ended_topic *ended;

	pthread_mutex_lock(&adapter->topics_lock);
	ended = ended_find(adapter, topic);
	if (ended)
		*ended = (struct ended_topic){0};
	pthread_mutex_unlock(&adapter->topics_lock);
}

// ---- lost

bool topic_generation_is_over(struct adapter *adapter, const struct topic *topic)
{
	const struct adapter_topic *lost = lost_find(adapter, topic->object.id);

	if (lost && lost->model->incarnation == topic->incarnation && !lost->back)
		return true;
	return ended_find(adapter, topic) != NULL;
}

struct adapter_topic *topic_generation_follow(struct adapter *adapter, struct adapter_topic *topic)
{
	struct adapter_topic *lost = lost_find(adapter, topic->model->object.id);

	if (!lost)
		return NULL;
	lost->lost = false;
	if (lost->model->incarnation == topic->model->incarnation)
		topic->generation_least = topic_generation_of(lost) + 1;
	return lost;
}

void topic_generation_lost(struct adapter_topic *topic)
{
	pthread_mutex_lock(&topic->adapter->topics_lock);
	topic->refs += !topic->lost;
	topic->lost = true;
	pthread_mutex_unlock(&topic->adapter->topics_lock);
	kafka_topic_gone(topic);
}

void topic_generation_found(struct adapter_topic *topic)
{
	pthread_mutex_lock(&topic->adapter->topics_lock);
	topic->back = true;
	pthread_mutex_unlock(&topic->adapter->topics_lock);
}

void topic_generation_forget_lost(struct adapter *adapter)
{
	struct adapter_topic *lost;

	do {
		pthread_mutex_lock(&adapter->topics_lock);
		lost = lost_find(adapter, 0);
		if (lost)
			lost->lost = false;
		pthread_mutex_unlock(&adapter->topics_lock);
		if (lost)
			kafka_topic_close(lost);
	} while (lost);
}

// ---- epochs

enum code topic_generation_await(struct adapter_topic *topic)
{
	uint64_t until_ns = clock_now_ns() + AWAIT_NS;

	while (!__atomic_load_n(&topic->generation_known, __ATOMIC_ACQUIRE)) {
		if (__atomic_load_n(&topic->gone, __ATOMIC_ACQUIRE))
			return CODE_NOT_FOUND;
		if (clock_now_ns() >= until_ns)
			return CODE_BACKEND_DOWN;
		usleep(2000);
	}
	return CODE_OK;
}

uint64_t topic_generation_of(const struct adapter_topic *topic)
{
	return __atomic_load_n(&topic->generation, __ATOMIC_ACQUIRE);
}

void topic_generation_epoch_seen(struct adapter *adapter, uint64_t epoch)
{
	uint64_t most = __atomic_load_n(&adapter->epoch_seen, __ATOMIC_RELAXED);

	epoch = MIN(epoch, WINDOW_EPOCH_MAX);
	while (epoch > most &&
	       !__atomic_compare_exchange_n(&adapter->epoch_seen, &most, epoch, true,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

uint64_t topic_generation_epoch_above(uint64_t seen, uint64_t now_ms)
{
	uint64_t ms = MAX(now_ms, (seen >> EPOCH_BITS) + 1);

	return ms > WINDOW_EPOCH_MAX >> EPOCH_BITS ? WINDOW_EPOCH_MAX : ms << EPOCH_BITS;
}

static uint64_t epoch_take(struct adapter *adapter, uint64_t now_ms)
{
	uint64_t seen = __atomic_load_n(&adapter->epoch_seen, __ATOMIC_RELAXED),
		 epoch = topic_generation_epoch_above(seen, now_ms);

	topic_generation_epoch_seen(adapter, epoch);
	return epoch;
}

uint64_t topic_generation_epoch_fence(struct adapter *adapter)
{
	return epoch_take(adapter, (uint64_t)clock_wall_ms());
}

uint64_t topic_generation_epoch_new(struct adapter *adapter)
{
	return epoch_take(adapter, (uint64_t)clock_wall_ms() + 1);
}
