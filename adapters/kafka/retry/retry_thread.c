// The thread of the retry stores: it owns all of them. Other threads hand it events; librdkafka
// hands it the messages of all retry topics through one queue of the catch-up consumer.
//
// Once a second it looks for late jobs and for unused streams and stores, and does the adapter's
// other work of every second (health, keeping offsets). It ends when nothing is under way: events,
// streams and batches.
//
// It is no executor and no ticker: it waits inside librdkafka's queue for the next message, and an
// event ends that wait by a yield of the queue.
//
// What it does not do: it knows nothing of jobs but their deadlines, and never waits for a broker.

#include "adapters/kafka/retry/retry_thread.h"

#include "adapters/kafka/client/client.h"
#include "adapters/kafka/client/health.h"
#include "adapters/kafka/offsets/offset_keepalive.h"
#include "adapters/kafka/read/fetcher.h"
#include "adapters/kafka/read/stream.h"
#include "adapters/kafka/retry/retry_store.h"
#include "adapters/kafka/retry/retry_stream.h"
#include "adapters/kafka/topic/stored.h"
#include "core/base/clock.h"
#include "core/loop/thread.h"

#include <errno.h>
#include <time.h>

#define STREAM_NS     (2 * S_NS)  // a stream without a job stays for so long
#define FORGET_NS     (60 * S_NS) // a store without a source and jobs stays in memory
#define DOUBT_NS      (2 * S_NS)  // a job to which nothing comes for so long
#define TICK_NS       S_NS
#define POLL_MS       200
#define LOOK_MESSAGES 1024u // taken between two looks at how much waits in the queue
#define LOOK_BYTES    (256u << 10)

int64_t retry_thread_count_rows(struct retry_stores *stores, int64_t change)
{
	return __atomic_add_fetch(&stores->rows, change, __ATOMIC_RELAXED);
}

void retry_thread_under_way(struct retry_stores *stores, int change)
{
	__atomic_add_fetch(&stores->under_way, change, __ATOMIC_ACQ_REL);
}

static void thread_wake(struct retry_stores *stores)
{
	rd_kafka_queue_t *messages = __atomic_load_n(&stores->messages, __ATOMIC_ACQUIRE);

	if (messages)
		rd_kafka_queue_yield(messages);
	else
		pthread_cond_signal(&stores->wake);
}

bool retry_thread_post(struct retry_stores *stores, struct loop_task *event)
{
	bool stopped;

	event->next = NULL;
	pthread_mutex_lock(&stores->lock);
	stopped = stores->stopped;
	if (!stopped) {
		*stores->last = event;
		stores->last = &event->next;
	}
	pthread_mutex_unlock(&stores->lock);
	if (!stopped)
		thread_wake(stores);
	return !stopped;
}

// ---- time

// A job that waits for a topic which was deleted would wait for ever: librdkafka says so after 30 s
// at the earliest, and no more once the stream has begun anew.
static void job_doubt(struct retry_store *store, struct retry_job *job, uint64_t now_ns)
{
	struct adapter *adapter = store->stores->adapter;
	uint64_t timeout_ns = adapter->options.timeout_ms * MS_NS;
	struct adapter_state state;

	if (job->doubted || !store->streaming || now_ns + timeout_ns < job->deadline_ns + DOUBT_NS)
		return;
	health_state(adapter, &state);
	if (state.circuit != CIRCUIT_CLOSED)
		return; // nothing comes from a cluster that is away
	job->doubted = true;
	retry_store_doubt(store);
}

static void store_tick(struct retry_store *store, uint64_t now_ns)
{
	struct retry_job *job = retry_store_first_job(store);

	if (job)
		job_doubt(store, job, now_ns);
	if (job && now_ns >= job->deadline_ns && job->phase != JOB_ASKING) {
		retry_stream_stop(store);
		list_unlink(&store->line);
		retry_store_job_end(job, CODE_BACKEND_DOWN, "its retry topic cannot be read");
	} else if (!job && (store->streaming || store->ahead_count) &&
		   now_ns >= store->used_ns + STREAM_NS) {
		retry_stream_stop(store);
		retry_stream_clear(store);
		retry_store_next_job(store);
	} else if (!job && !store->open && !store->writing_count && !store->streaming &&
		   now_ns >= store->used_ns + FORGET_NS) {
		map_remove(&store->stores->stores, &store->by_id);
		retry_store_free(store);
	}
}

static void tick_stores(struct retry_stores *stores, uint64_t now_ns)
{
	struct map_node *node, *next = NULL;
	size_t cursor = 0;

	if (now_ns < stores->tick_ns)
		return;
	stores->tick_ns = now_ns + TICK_NS;
	while ((node = map_next(&stores->stores, &cursor, &next)))
		store_tick(CONTAINER_OF(node, struct retry_store, by_id), now_ns);
	health_look(stores->adapter);
	if (!stores->stopping)
		offset_keepalive_run(stores->adapter, now_ns);
}

// ---- the thread

static bool events_read(struct retry_stores *stores)
{
	struct loop_task *event;
	bool stopping;

	pthread_mutex_lock(&stores->lock);
	event = stores->first;
	stores->first = NULL;
	stores->last = &stores->first;
	stopping = stores->stopping;
	stores->stopped = stopping && !event && list_empty(&stores->reading) &&
			  __atomic_load_n(&stores->under_way, __ATOMIC_ACQUIRE) == 0;
	stopping = stores->stopped;
	pthread_mutex_unlock(&stores->lock);
	while (event) {
		struct loop_task *next = event->next;

		event->fn(event);
		event = next;
	}
	return !stopping;
}

static void jobs_end(struct retry_stores *stores)
{
	struct map_node *node, *next = NULL;
	size_t cursor = 0;

	while ((node = map_next(&stores->stores, &cursor, &next))) {
		struct retry_store *store = CONTAINER_OF(node, struct retry_store, by_id);
		struct retry_job *job;

		retry_stream_stop(store);
		list_unlink(&store->line);
		while ((job = retry_store_first_job(store))) {
			list_unlink(&job->in_store);
			retry_store_job_finish(job, NULL, CODE_SHUTTING_DOWN, NULL);
		}
	}
}

bool retry_thread_is_stopping(struct retry_stores *stores)
{
	bool stopping;

	pthread_mutex_lock(&stores->lock);
	stopping = stores->stopping;
	pthread_mutex_unlock(&stores->lock);
	return stopping;
}

// ---- the consumer

bool retry_thread_take_consumer(struct retry_stores *stores)
{
	struct client *client =
		stores->messages ? NULL : fetcher_catchup_client(stores->adapter->fetcher);

	if (client) {
		rd_kafka_queue_t *messages = rd_kafka_queue_new(client_handle(client));

		stores->handle = client_handle(client);
		__atomic_store_n(&stores->messages, messages, __ATOMIC_RELEASE);
		rd_kafka_queue_yield(messages); // for a caller that has just found none
	}
	return stores->messages;
}

static void event_await(struct retry_stores *stores)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += POLL_MS * MS_NS;
	until.tv_sec += until.tv_nsec / (long)S_NS;
	until.tv_nsec %= (long)S_NS;
	pthread_mutex_lock(&stores->lock);
	if (!stores->first)
		pthread_cond_timedwait(&stores->wake, &stores->lock, &until);
	pthread_mutex_unlock(&stores->lock);
}

static void queue_note(struct retry_stores *stores, const rd_kafka_message_t *message)
{
	stores->taken_bytes += message->len;
	if (++stores->taken < LOOK_MESSAGES && stores->taken_bytes < LOOK_BYTES)
		return;
	if (stores->taken_bytes / stores->taken * rd_kafka_queue_length(stores->messages) >=
		    KAFKA_QUEUE_BYTES / 4 * 3 ||
	    rd_kafka_queue_length(stores->messages) >= KAFKA_QUEUE_MESSAGES / 4 * 3)
		stores->full = true;
	stores->taken_bytes = stores->taken = 0;
}

static rd_kafka_message_t *message_await(struct retry_stores *stores)
{
	rd_kafka_message_t *message;

	if (!stores->messages) {
		event_await(stores);
		return NULL;
	}
	message = rd_kafka_consume_queue(stores->messages, 0);
	if (message) {
		queue_note(stores, message);
		return message;
	}
	if (stores->full)
		retry_stream_wake_all(stores);
	stores->full = false;
	return rd_kafka_consume_queue(stores->messages, POLL_MS);
}

static void *retry_run(void *arg)
{
	struct retry_stores *stores = arg;

	while (events_read(stores)) {
		rd_kafka_message_t *message = message_await(stores);

		if (message)
			retry_stream_serve(stores, message);
		tick_stores(stores, clock_now_ns());
		if (retry_thread_is_stopping(stores))
			jobs_end(stores);
	}
	return NULL;
}

int retry_thread_start(struct adapter *adapter)
{
	struct retry_stores *stores = calloc(1, sizeof *stores);
	pthread_condattr_t monotonic;
	int r;

	if (!stores)
		return -ENOMEM;
	adapter->retries = stores;
	stores->adapter = adapter;
	stores->last = &stores->first;
	pthread_mutex_init(&stores->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&stores->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	list_init(&stores->reading);
	list_init(&stores->waiting);
	r = thread_start("kafka-retry", retry_run, stores, &stores->thread);
	stores->started = r == 0;
	return r;
}

void retry_thread_stop(struct retry_stores *stores)
{
	if (!stores || !stores->started)
		return;
	pthread_mutex_lock(&stores->lock);
	stores->stopping = true;
	pthread_mutex_unlock(&stores->lock);
	thread_wake(stores);
	pthread_join(stores->thread, NULL);
	stores->started = false;
}

void retry_thread_free(struct retry_stores *stores)
{
	struct map_node *node, *next = NULL;
	size_t cursor = 0;

	if (!stores)
		return;
	while ((node = map_next(&stores->stores, &cursor, &next)))
		retry_store_free(CONTAINER_OF(node, struct retry_store, by_id));
	map_deinit(&stores->stores);
	if (stores->messages)
		rd_kafka_queue_destroy(stores->messages);
	pthread_cond_destroy(&stores->wake);
	pthread_mutex_destroy(&stores->lock);
	free(stores);
}
