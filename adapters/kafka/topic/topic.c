// Open topics: references, partitions, watches, and what is known without a request.
//
// A topic is in the adapter's list from its first open to its last close; others ask by id. The
// array of partitions is replaced when it grows; a partition stays where it is, and old arrays stay
// until the topic is freed, so readers need no lock.
//
// Invariants: first and end of a partition only rise; a topic that is gone stays gone, another
// incarnation is another struct. What it does not do: ask the cluster (watcher.c, watermarks.c),
// nor know its readers and senders (hooks in adapter.h).

#include "adapters/kafka/topic/topic.h"

#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/client/client.h"
#include "adapters/kafka/client/cluster_info.h"
#include "adapters/kafka/topic/stored.h"
#include "adapters/kafka/topic/topic_generation.h"
#include "adapters/log/watch.h"
#include "core/loop/ticker.h"

#include <errno.h>

struct kafka_array {
	struct kafka_array *before;
	struct kafka_partition *partitions[];
};

// ---- opening

static void arrays_free(struct kafka_array *array)
{
	while (array) {
		struct kafka_array *before = array->before;

		free(array);
		array = before;
	}
}

static void watching_end(struct adapter_topic *topic)
{
	if (topic->watching)
		rd_kafka_topic_destroy(topic->watching);
	topic->watching = NULL;
	if (topic->watched_on)
		admin_handle_unref(topic->adapter, topic->watched_on);
	topic->watched_on = NULL;
}

static void topic_rewatch(struct adapter_topic *topic)
{
	struct admin_handle *on = admin_handle_ref(topic->adapter);

	watching_end(topic);
	topic->watched_on = on;
	topic->watching = rd_kafka_topic_new(client_handle(admin_handle_client(on)),
					     topic->model->physical, NULL);
}

void kafka_topic_handle_swapped(struct adapter *adapter)
{
	LIST_FOREACH(node, next, &adapter->topics)
	{
		topic_rewatch(LIST_ENTRY(node, struct adapter_topic, in_adapter));
	}
}

static void topic_free(struct adapter_topic *topic)
{
	for (uint32_t i = 0; i < topic->partition_count; ++i) {
		topic->adapter->hooks->partition_forget(topic->partitions[i]);
		free(topic->partitions[i]);
	}
	arrays_free(topic->arrays);
	watching_end(topic);
	pthread_mutex_destroy(&topic->watch_lock);
	model_unref(topic->model);
	free(topic);
}

static struct adapter_topic *topic_new(struct adapter *adapter, const struct topic *model)
{
	struct adapter_topic *topic = calloc(1, sizeof *topic);

	if (!topic)
		return NULL;
	topic->adapter = adapter;
	topic->model = model_ref(model);
	topic->refs = 1;
	kafka_limits_init(&topic->limits);
	topic->sent = kafka_stored_sent(adapter, model->object.id);
	// Ours are made as the cluster's class wants it; of others nothing is known yet.
	topic->durability =
		(uint8_t)(model->imported ? DURABILITY_D1
					  : capability_topic_durability(
						    cluster_info_capabilities(adapter), model));
	list_init(&topic->watches);
	pthread_mutex_init(&topic->watch_lock, NULL);
	topic_rewatch(topic);
	kafka_topic_grow(topic, model->partitions);
	if (topic->watching && topic->sent && topic->partition_count == model->partitions)
		return topic;
	topic_free(topic);
	return NULL;
}

static struct adapter_topic *topic_find(struct adapter *adapter, uint64_t id)
{
	LIST_FOREACH(node, next, &adapter->topics)
	{
		struct adapter_topic *topic = LIST_ENTRY(node, struct adapter_topic, in_adapter);

		if (topic->model->object.id == id &&
		    !__atomic_load_n(&topic->gone, __ATOMIC_ACQUIRE))
			return topic;
	}
	return NULL;
}

struct adapter_topic *kafka_topic_open(struct adapter *adapter, const struct topic *model)
{
	struct adapter_topic *topic, *before = NULL;

	pthread_mutex_lock(&adapter->topics_lock);
	topic = topic_find(adapter, model->object.id);
	if (topic_generation_is_over(adapter, model)) {
		topic = NULL;
	} else if (topic && topic->model->incarnation == model->incarnation) {
		++topic->refs;
		kafka_topic_grow(topic, model->partitions);
	} else if (topic) {
		topic = NULL;
	} else {
		topic = topic_new(adapter, model);
		if (topic) {
			before = topic_generation_follow(adapter, topic);
			list_push_back(&adapter->topics, &topic->in_adapter);
			ticker_poke(adapter->watch_ticker);
		}
	}
	pthread_mutex_unlock(&adapter->topics_lock);
	if (before)
		kafka_topic_close(before);
	return topic;
}

struct adapter_topic *kafka_topic_find(struct adapter *adapter, uint64_t id)
{
	struct adapter_topic *topic;

	pthread_mutex_lock(&adapter->topics_lock);
	topic = topic_find(adapter, id);
	if (topic)
		++topic->refs;
	pthread_mutex_unlock(&adapter->topics_lock);
	return topic;
}

struct adapter_topic *kafka_topic_ref(struct adapter_topic *topic)
{
	pthread_mutex_lock(&topic->adapter->topics_lock);
	++topic->refs;
	pthread_mutex_unlock(&topic->adapter->topics_lock);
	return topic;
}

void kafka_topic_close(struct adapter_topic *topic)
{
	struct adapter *adapter = topic->adapter;
	bool last;

	pthread_mutex_lock(&adapter->topics_lock);
	last = --topic->refs == 0;
	if (last) {
		list_unlink(&topic->in_adapter);
		adapter->hooks->topic_closed(topic);
	}
	pthread_mutex_unlock(&adapter->topics_lock);
	if (last)
		topic_free(topic);
}

struct kafka_partition *kafka_topic_partition(struct adapter_topic *topic, uint32_t number)
{
	if (number >= __atomic_load_n(&topic->partition_count, __ATOMIC_ACQUIRE))
		return NULL;
	return __atomic_load_n(&topic->partitions, __ATOMIC_ACQUIRE)[number];
}

// Under watch_lock. A thread that reads meanwhile has the previous array, which stays.
static struct kafka_array *array_grown(struct adapter_topic *topic, uint32_t partitions)
{
	struct kafka_array *array =
		malloc(sizeof *array + partitions * sizeof(struct kafka_partition *));
	uint32_t have = topic->partition_count;

	if (!array)
		return NULL;
	if (have)
		memcpy(array->partitions, topic->partitions,
		       have * sizeof(struct kafka_partition *));
	for (uint32_t i = have; i < partitions; ++i) {
		array->partitions[i] = calloc(1, sizeof(struct kafka_partition));
		if (!array->partitions[i]) {
			while (i > have)
				free(array->partitions[--i]);
			free(array);
			return NULL;
		}
		array->partitions[i]->topic = topic;
		array->partitions[i]->number = i;
	}
	array->before = topic->arrays;
	return array;
}

void kafka_topic_grow(struct adapter_topic *topic, uint32_t partitions)
{
	struct kafka_array *array;
	bool watched;

	pthread_mutex_lock(&topic->watch_lock);
	array = partitions > topic->partition_count ? array_grown(topic, partitions) : NULL;
	if (array) {
		topic->arrays = array;
		__atomic_store_n(&topic->partitions, array->partitions, __ATOMIC_RELEASE);
		__atomic_store_n(&topic->partition_count, partitions, __ATOMIC_RELEASE);
	}
	watched = !list_empty(&topic->watches);
	pthread_mutex_unlock(&topic->watch_lock);
	if (array && watched)
		topic->adapter->hooks->topic_follow(topic);
}

// ---- watching

void kafka_topic_watch(struct adapter_topic *topic, struct log_watch *watch)
{
	pthread_mutex_lock(&topic->watch_lock);
	list_push_back(&topic->watches, &watch->node);
	pthread_mutex_unlock(&topic->watch_lock);
	topic->adapter->hooks->topic_follow(topic);
	ticker_poke(topic->adapter->watch_ticker);
}

void kafka_topic_unwatch(struct adapter_topic *topic, struct log_watch *watch)
{
	pthread_mutex_lock(&topic->watch_lock);
	list_unlink(&watch->node);
	pthread_mutex_unlock(&topic->watch_lock);
}

bool kafka_topic_watched(struct adapter_topic *topic)
{
	bool watched;

	pthread_mutex_lock(&topic->watch_lock);
	watched = !list_empty(&topic->watches);
	pthread_mutex_unlock(&topic->watch_lock);
	return watched;
}

void kafka_topic_gone(struct adapter_topic *topic)
{
	__atomic_store_n(&topic->gone, true, __ATOMIC_RELEASE);
	log_watches_post(&topic->watch_lock, &topic->watches);
}

// ---- bounds

static bool raise_to(uint64_t *value, uint64_t to)
{
	uint64_t now = __atomic_load_n(value, __ATOMIC_ACQUIRE);

	while (now < to)
		if (__atomic_compare_exchange_n(value, &now, to, true, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE))
			return true;
	return false;
}

void kafka_topic_raise_end(struct kafka_partition *partition, uint64_t end)
{
	if (raise_to(&partition->end, end))
		log_watches_post(&partition->topic->watch_lock, &partition->topic->watches);
}

void kafka_topic_raise_first(struct kafka_partition *partition, uint64_t first)
{
	raise_to(&partition->first, first);
	kafka_topic_raise_end(partition, first);
}

bool kafka_topic_bounds(struct adapter_topic *topic, uint32_t number, uint64_t *ret_first,
			uint64_t *ret_end)
{
	struct kafka_partition *partition = kafka_topic_partition(topic, number);

	*ret_first = *ret_end = 0;
	if (partition) {
		*ret_end = __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE);
		*ret_first = __atomic_load_n(&partition->first, __ATOMIC_ACQUIRE);
	}
	return !__atomic_load_n(&topic->gone, __ATOMIC_ACQUIRE);
}

// ---- holes

void kafka_topic_holes_found(struct adapter_topic *topic)
{
	if (__atomic_exchange_n(&topic->holes, true, __ATOMIC_ACQ_REL) || topic->model->imported ||
	    topic->model->native)
		return;
	log_warn(topic->adapter->log, "KAFKA-HOLES",
		 "topic %s has positions without a message: others write transactions to it, or it "
		 "was compacted; the numbers of its groups count them, too",
		 topic->model->physical);
	ticker_poke(topic->adapter->watch_ticker); // it is to be known after a restart, too
}

bool kafka_topic_has_holes(const struct adapter_topic *topic)
{
	return __atomic_load_n(&topic->holes, __ATOMIC_ACQUIRE);
}

// ---- settings

void kafka_topic_settings_doubt(struct adapter_topic *topic)
{
	if (!__atomic_exchange_n(&topic->settings_soon, true, __ATOMIC_ACQ_REL))
		ticker_poke(topic->adapter->watch_ticker);
}
