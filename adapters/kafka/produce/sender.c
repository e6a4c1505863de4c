// The producers, one a size class, and their replacement after a fatal error.
//
// Replacing blocks (a handle is made, another one is purged), so it is a blocking task, and it
// happens at most every PAUSE_NS: an error that comes back at once, such as a missing right, must
// not become a storm of connections.
//
// Invariants: between sender_enter() and sender_leave() a slot's handle and its topics are not
// replaced; after sender_drain() nothing is replaced. What it does not do: know records; reports go
// to hooks (adapter.h).

#include "adapters/kafka/produce/sender.h"

#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/client/client.h"
#include "adapters/kafka/client/task.h"
#include "adapters/kafka/topic/limits.h"
#include "adapters/kafka/topic/topic.h"
#include "core/base/clock.h"

#include <errno.h>

#define PAUSE_NS      (5 * S_NS)
#define PURGE_WAIT_MS 1000
#define GROWN_MS      2000
#define FRAME_BYTES   512 // of a request, around its batch

// What a producer of the class puts into one batch. A property of the producer in librdkafka, so
// topics that take less cannot share it.
static const struct {
	int batch_bytes;
	int batch_messages;
	const char *role;
} classes[SENDER_SLOTS] = {
	{KAFKA_BATCH_BYTES, 10000, "produce"},
	{250000, 10000, "produce-250k"},
	{60000, 10000, "produce-60k"},
	{15000, 10000, "produce-15k"},
	{15000, 1, "produce-one"},
};

struct slot {
	struct adapter *adapter;
	unsigned number;
	struct client *client;  // NULL: no topic has needed it
	struct client *retired; // its messages have ended; NULL: none
	bool replacing;         // atomic
	uint64_t replaced_ns;   // atomic
	struct kafka_task task;
};

struct sender {
	pthread_rwlock_t lock; // written when a client is replaced, and at start and end
	struct slot slots[SENDER_SLOTS];
	bool stopping; // nothing is replaced any more
};

unsigned sender_slot_of(uint64_t batch_bytes)
{
	unsigned slot = 0;

	while (slot + 1 < SENDER_SLOTS &&
	       (uint64_t)classes[slot].batch_bytes + FRAME_BYTES > batch_bytes)
		++slot;
	return slot;
}

static void on_event(void *ctx, rd_kafka_event_t *event)
{
	struct slot *slot = ctx;

	switch (rd_kafka_event_type(event)) {
	case RD_KAFKA_EVENT_DR:
		slot->adapter->hooks->delivered(slot->adapter, slot->number, event);
		break;
	case RD_KAFKA_EVENT_ERROR:
		slot->adapter->hooks->client_error(slot->adapter, event);
		sender_check(slot->adapter); // it may be a fatal one
		break;
	default: admin_handle_event(event); break;
	}
}

static void on_ended(void *ctx, rd_kafka_t *handle, const rd_kafka_message_t *message)
{
	struct slot *slot = ctx;

	slot->adapter->hooks->ended(slot->adapter, slot->number, handle, message);
}

static void on_tick(void *ctx)
{
	struct slot *slot = ctx;

	slot->adapter->hooks->between(slot->adapter, slot->number);
}

static int client_make(struct slot *slot, struct client **ret, char **ret_error)
{
	const struct kafka_options *options = &slot->adapter->options;
	char memory[24], timeout[16], batch[16], messages[16], in_flight[16];
	const char *const settings[][2] = {
		{"acks", "all"},
		{"enable.idempotence", "true"},
		// Batches grow by themselves while a request is under way.
		{"linger.ms", "0"},
		{"max.in.flight.requests.per.connection", in_flight},
		{"queue.buffering.max.messages", "10000000"},
		{"queue.buffering.max.kbytes", memory},
		{"message.timeout.ms", timeout},
		// How large a message may be is said by the topic.
		{"message.max.bytes", "1000000000"},
		{"batch.size", batch},
		{"batch.num.messages", messages},
		{"reconnect.backoff.max.ms", "500"},
		{"socket.timeout.ms", CLIENT_SILENCE_TEXT},
		{"topic.metadata.refresh.interval.ms", "30000"},
		// How long a topic that is not there may be about to come.
		{"topic.metadata.propagation.max.ms", "5000"},
		{NULL, NULL},
	};
	const struct client_config config = {.options = options,
					     .type = RD_KAFKA_PRODUCER,
					     .role = classes[slot->number].role,
					     .settings = settings,
					     .event = on_event,
					     .ended = on_ended,
					     .tick = on_tick,
					     .ctx = slot,
					     .log = slot->adapter->log};

	snprintf(memory, sizeof memory, "%llu", (unsigned long long)(options->memory_bytes >> 10));
	snprintf(batch, sizeof batch, "%d", classes[slot->number].batch_bytes);
	snprintf(messages, sizeof messages, "%d", classes[slot->number].batch_messages);
	snprintf(in_flight, sizeof in_flight, "%u", options->in_flight);
	snprintf(timeout, sizeof timeout, "%u", options->timeout_ms);
	return client_start(&config, ret, ret_error);
}

int sender_start(struct adapter *adapter, char **ret_error)
{
	struct sender *sender = calloc(1, sizeof *sender);
	pthread_rwlockattr_t attributes;
	int r;

	if (!sender)
		return -ENOMEM;
	for (unsigned i = 0; i < SENDER_SLOTS; ++i) {
		sender->slots[i].adapter = adapter;
		sender->slots[i].number = i;
	}
	// Constant sends must not keep out a thread that replaces a client.
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&sender->lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	adapter->sender = sender;
	r = client_make(&sender->slots[0], &adapter->producer, ret_error);
	pthread_rwlock_wrlock(&sender->lock);
	sender->slots[0].client = adapter->producer;
	pthread_rwlock_unlock(&sender->lock);
	return r;
}

bool sender_slot_open(struct adapter *adapter, unsigned number)
{
	struct sender *sender = adapter->sender;
	struct slot *slot = &sender->slots[number];
	_cleanup_(freep) char *error = NULL;
	struct client *client = NULL;
	bool wanted;

	pthread_rwlock_rdlock(&sender->lock);
	wanted = !slot->client && !sender->stopping;
	pthread_rwlock_unlock(&sender->lock);
	if (wanted && client_make(slot, &client, &error) < 0)
		log_error(adapter->log, "KAFKA-PRODUCER", "no producer for small batches: %s",
			  error ? error : "no memory");
	pthread_rwlock_wrlock(&sender->lock);
	if (client)
		slot->client = client;
	wanted = !slot->client;
	pthread_rwlock_unlock(&sender->lock);
	return !wanted;
}

// What is still there ends now.
static void client_purge(struct client *client)
{
	rd_kafka_purge(client_handle(client), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_flush(client_handle(client), PURGE_WAIT_MS);
}

void sender_drain(struct adapter *adapter, int wait_ms)
{
	struct sender *sender = adapter->sender;
	struct client *clients[SENDER_SLOTS];

	if (!sender)
		return;
	adapter->hooks->leaving(adapter);
	pthread_rwlock_wrlock(&sender->lock);
	sender->stopping = true; // callers in sender_check() have posted, no other will
	for (unsigned i = 0; i < SENDER_SLOTS; ++i)
		clients[i] = sender->slots[i].client;
	pthread_rwlock_unlock(&sender->lock);
	for (unsigned i = 0; i < SENDER_SLOTS; ++i)
		if (clients[i] && rd_kafka_flush(client_handle(clients[i]), wait_ms))
			client_purge(clients[i]);
	adapter->hooks->drained(adapter);
}

static void client_retire(struct adapter *adapter, struct client *client)
{
	if (client && client != adapter->producer)
		client_stop(client);
}

void sender_stop(struct adapter *adapter)
{
	struct sender *sender = adapter->sender;

	if (!sender)
		return;
	for (unsigned i = SENDER_SLOTS; i-- > 0;) {
		client_retire(adapter, sender->slots[i].retired);
		client_retire(adapter, sender->slots[i].client);
	}
	client_stop(adapter->producer); // the last thread that may be in sender_check()
	adapter->producer = NULL;
	pthread_rwlock_destroy(&sender->lock);
	free(sender);
	adapter->sender = NULL;
}

rd_kafka_t *sender_enter_slot(struct adapter *adapter, unsigned slot)
{
	const struct client *client;

	pthread_rwlock_rdlock(&adapter->sender->lock);
	client = adapter->sender->slots[slot].client;
	return client ? client_handle(client) : NULL;
}

rd_kafka_t *sender_enter(struct adapter *adapter)
{
	return sender_enter_slot(adapter, 0);
}

void sender_leave(struct adapter *adapter)
{
	pthread_rwlock_unlock(&adapter->sender->lock);
}

void sender_topic_move(struct adapter_topic *topic, unsigned slot)
{
	struct adapter *adapter = topic->adapter;

	pthread_rwlock_wrlock(&adapter->sender->lock);
	pthread_mutex_lock(&adapter->topics_lock);
	sender_topic_drop(topic);
	__atomic_store_n(&topic->slot, slot, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&adapter->topics_lock);
	pthread_rwlock_unlock(&adapter->sender->lock);
}

// The purge that waits comes behind the one that did not: when it is through, all reports are
// there.
void sender_take_back(rd_kafka_t *handle)
{
	rd_kafka_purge(handle, RD_KAFKA_PURGE_F_QUEUE);
	client_serve(rd_kafka_opaque(handle));
}

// ---- topics

rd_kafka_topic_t *sender_topic(rd_kafka_t *handle, struct adapter_topic *topic)
{
	rd_kafka_topic_t *known = __atomic_load_n(&topic->producing, __ATOMIC_ACQUIRE), *made;

	if (known)
		return known;
	made = rd_kafka_topic_new(handle, topic->model->physical, NULL);
	if (!made || __atomic_compare_exchange_n(&topic->producing, &known, made, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return made;
	rd_kafka_topic_destroy(made);
	return known;
}

void sender_topic_drop(struct adapter_topic *topic)
{
	if (topic->producing)
		rd_kafka_topic_destroy(topic->producing);
	topic->producing = NULL;
}

bool sender_topic_grown(struct adapter_topic *topic, uint32_t partitions)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_t *handle =
		sender_enter_slot(topic->adapter, __atomic_load_n(&topic->slot, __ATOMIC_RELAXED));
	rd_kafka_topic_t *known = __atomic_load_n(&topic->producing, __ATOMIC_ACQUIRE);
	bool heard = !known;

	if (known && !rd_kafka_metadata(handle, 0, known, &metadata, GROWN_MS)) {
		heard = metadata->topic_cnt &&
			(uint32_t)metadata->topics[0].partition_cnt >= partitions;
		rd_kafka_metadata_destroy(metadata);
	}
	sender_leave(topic->adapter);
	return heard;
}

// ---- replacing

static void client_swap(struct slot *slot, struct client *client)
{
	struct adapter *adapter = slot->adapter;
	struct sender *sender = adapter->sender;

	pthread_rwlock_wrlock(&sender->lock);
	slot->retired = slot->client;
	slot->client = client;
	pthread_mutex_lock(&adapter->topics_lock);
	LIST_FOREACH(node, next, &adapter->topics)
	{
		struct adapter_topic *topic = LIST_ENTRY(node, struct adapter_topic, in_adapter);

		if (topic->slot == slot->number)
			sender_topic_drop(topic);
	}
	pthread_mutex_unlock(&adapter->topics_lock);
	pthread_rwlock_unlock(&sender->lock);
}

static void slot_replace(struct adapter *adapter, struct kafka_task *task)
{
	struct slot *slot = CONTAINER_OF(task, struct slot, task);
	_cleanup_(freep) char *error = NULL;
	char reason[256];
	struct client *client;

	rd_kafka_fatal_error(client_handle(slot->client), reason, sizeof reason);
	client_retire(adapter, slot->retired);
	slot->retired = NULL;
	if (client_make(slot, &client, &error) < 0) {
		log_error(adapter->log, "KAFKA-PRODUCER", "no new producer: %s",
			  error ? error : "no memory");
	} else {
		log_warn(adapter->log, "KAFKA-PRODUCER", "a new producer takes over: %s", reason);
		client_swap(slot, client);
		client_purge(slot->retired);
	}
	__atomic_store_n(&slot->replaced_ns, clock_now_ns(), __ATOMIC_RELEASE);
	__atomic_store_n(&slot->replacing, false, __ATOMIC_RELEASE);
}

// With the lock. A handle that is just being made is not there yet.
static bool is_due(const struct slot *slot)
{
	uint64_t replaced_ns = __atomic_load_n(&slot->replaced_ns, __ATOMIC_ACQUIRE);

	return slot->client && rd_kafka_fatal_error(client_handle(slot->client), NULL, 0) &&
	       (!replaced_ns || clock_now_ns() - replaced_ns >= PAUSE_NS);
}

// The task is posted with the lock, so that none is posted behind sender_drain().
void sender_check(struct adapter *adapter)
{
	struct sender *sender = adapter->sender;

	pthread_rwlock_rdlock(&sender->lock);
	for (unsigned i = 0; i < SENDER_SLOTS && !sender->stopping; ++i) {
		struct slot *slot = &sender->slots[i];

		if (!is_due(slot) || __atomic_exchange_n(&slot->replacing, true, __ATOMIC_ACQ_REL))
			continue;
		slot->task.run = slot_replace;
		kafka_task_post_blocking(adapter, &slot->task);
	}
	pthread_rwlock_unlock(&sender->lock);
}
