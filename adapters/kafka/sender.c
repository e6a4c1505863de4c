// Replacing blocks (a handle is made, another one ends), so it is done on the questions thread, and
// not more often than every PAUSE_NS: an error that comes back at once, such as a missing right,
// must not become a storm of connections.

#include "adapters/kafka/sender.h"

#include "adapters/kafka/call.h"
#include "adapters/kafka/health.h"
#include "core/base/clock.h"

#include <errno.h>

#define PAUSE_NS      (5 * S_NS)
#define PURGE_WAIT_MS 1000
#define GROWN_MS      2000

struct sender {
	pthread_rwlock_t lock; // written by who replaces `client`, and by who begins and ends it
	struct client *client;
	struct client *retired; // its messages have ended; NULL: none
	bool replacing;         // atomic
	bool stopping;          // nothing is replaced any more
	uint64_t replaced_ns;   // atomic
	struct kafka_question question;
};

static void on_event(void *ctx, rd_kafka_event_t *event)
{
	struct adapter *adapter = ctx;

	switch (rd_kafka_event_type(event)) {
	case RD_KAFKA_EVENT_DR: kafka_delivered(adapter, event); break;
	case RD_KAFKA_EVENT_ERROR:
		health_error(adapter, event);
		sender_check(adapter); // it may be a fatal one
		break;
	default: kafka_call_event(event); break;
	}
}

static int client_make(struct adapter *adapter, struct client **ret, char **ret_error)
{
	char memory[24], timeout[16], batch[16], in_flight[16];
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
		{"reconnect.backoff.max.ms", "500"},
		{"socket.timeout.ms", CLIENT_SILENCE_TEXT},
		{"topic.metadata.refresh.interval.ms", "30000"},
		// How long a topic that is not there may be about to come.
		{"topic.metadata.propagation.max.ms", "5000"},
		{NULL, NULL},
	};
	const struct client_config config = {.options = &adapter->options,
					     .type = RD_KAFKA_PRODUCER,
					     .role = "produce",
					     .settings = settings,
					     .event = on_event,
					     .ctx = adapter,
					     .log = adapter->log};

	snprintf(memory, sizeof memory, "%llu",
		 (unsigned long long)(adapter->options.memory_bytes >> 10));
	snprintf(batch, sizeof batch, "%d", KAFKA_BATCH_BYTES);
	snprintf(in_flight, sizeof in_flight, "%u", adapter->options.in_flight);
	snprintf(timeout, sizeof timeout, "%u", adapter->options.timeout_ms);
	return client_start(&config, ret, ret_error);
}

int sender_start(struct adapter *adapter, char **ret_error)
{
	struct sender *sender = calloc(1, sizeof *sender);
	pthread_rwlockattr_t attributes;
	int r;

	if (!sender)
		return -ENOMEM;
	// Who sends all the time must not keep out who replaces.
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&sender->lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	adapter->sender = sender;
	r = client_make(adapter, &adapter->producer, ret_error);
	pthread_rwlock_wrlock(&sender->lock);
	sender->client = adapter->producer;
	pthread_rwlock_unlock(&sender->lock);
	return r;
}

// What is still there ends now.
static void purge(struct client *client)
{
	rd_kafka_purge(client_handle(client), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_flush(client_handle(client), PURGE_WAIT_MS);
}

void sender_drain(struct adapter *adapter, int wait_ms)
{
	struct sender *sender = adapter->sender;
	struct client *client;

	if (!sender)
		return;
	pthread_rwlock_wrlock(&sender->lock);
	sender->stopping = true; // who was in sender_check() has asked, nobody else will
	client = sender->client;
	pthread_rwlock_unlock(&sender->lock);
	if (client && rd_kafka_flush(client_handle(client), wait_ms))
		purge(client);
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
	client_retire(adapter, sender->retired);
	client_retire(adapter, sender->client);
	client_stop(adapter->producer); // the last thread that may be in sender_check()
	adapter->producer = NULL;
	pthread_rwlock_destroy(&sender->lock);
	free(sender);
	adapter->sender = NULL;
}

rd_kafka_t *sender_enter(struct adapter *adapter)
{
	pthread_rwlock_rdlock(&adapter->sender->lock);
	return client_handle(adapter->sender->client);
}

void sender_leave(struct adapter *adapter)
{
	pthread_rwlock_unlock(&adapter->sender->lock);
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
	rd_kafka_t *handle = sender_enter(topic->adapter);
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

static void client_swap(struct adapter *adapter, struct client *client)
{
	struct sender *sender = adapter->sender;

	pthread_rwlock_wrlock(&sender->lock);
	sender->retired = sender->client;
	sender->client = client;
	pthread_mutex_lock(&adapter->topics_lock);
	LIST_FOREACH(node, next, &adapter->topics)
	{
		sender_topic_drop(LIST_ENTRY(node, struct adapter_topic, in_adapter));
	}
	pthread_mutex_unlock(&adapter->topics_lock);
	pthread_rwlock_unlock(&sender->lock);
}

static void replace(struct adapter *adapter, struct kafka_question *question)
{
	struct sender *sender = CONTAINER_OF(question, struct sender, question);
	_cleanup_(freep) char *error = NULL;
	char reason[256];
	struct client *client;

	rd_kafka_fatal_error(client_handle(sender->client), reason, sizeof reason);
	client_retire(adapter, sender->retired);
	sender->retired = NULL;
	if (client_make(adapter, &client, &error) < 0) {
		log_error(adapter->log, "KAFKA-PRODUCER", "no new producer: %s",
			  error ? error : "no memory");
	} else {
		log_warn(adapter->log, "KAFKA-PRODUCER", "a new producer takes over: %s", reason);
		client_swap(adapter, client);
		purge(sender->retired);
	}
	__atomic_store_n(&sender->replaced_ns, clock_now_ns(), __ATOMIC_RELEASE);
	__atomic_store_n(&sender->replacing, false, __ATOMIC_RELEASE);
}

// With the lock. A handle that is just being made is not there yet.
static bool is_due(const struct sender *sender)
{
	uint64_t replaced_ns = __atomic_load_n(&sender->replaced_ns, __ATOMIC_ACQUIRE);

	return sender->client && !sender->stopping &&
	       rd_kafka_fatal_error(client_handle(sender->client), NULL, 0) &&
	       (!replaced_ns || clock_now_ns() - replaced_ns >= PAUSE_NS);
}

// The question is put with the lock, so that none is put behind sender_drain().
void sender_check(struct adapter *adapter)
{
	struct sender *sender = adapter->sender;

	pthread_rwlock_rdlock(&sender->lock);
	if (is_due(sender) && !__atomic_exchange_n(&sender->replacing, true, __ATOMIC_ACQ_REL)) {
		sender->question.run = replace;
		kafka_ask(adapter, &sender->question);
	}
	pthread_rwlock_unlock(&sender->lock);
}
