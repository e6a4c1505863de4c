// The thread that reads partitions: it serves all streams of a cluster, and fetches are answered
// from the rings in memory. A partition of a topic that has watches is followed from its end on: a
// message of any producer raises the end, and lies in the ring when the groups ask. A reader that
// is behind the ring reads through a catch-up slot (catchup_slot.h). Consumer handles are used by
// partition, without a group; each partition has a queue of its own, so its reading can be held
// alone. Two locks: `lock` for what loops see (rings, requests), held for a few steps, never around
// librdkafka; `wake_lock`, the inner one, for the lists by which the thread is woken, also from
// librdkafka's threads. The thread is no executor: a stream or reader waits in its list once,
// however often it is woken, and the two lists take turns. Nor is it a ticker: what is due next
// moves with each item. Invariant: streams are started and stopped by the thread alone, or when it
// has ended. What it does not do: commit, join a group, or read retry topics (retry_stream.c),
// which only share its catch-up consumer.

#include "adapters/kafka/read/fetcher.h"

#include "adapters/kafka/client/client.h"
#include "adapters/kafka/read/catchup_slot.h"
#include "adapters/kafka/read/partition_reader.h"
#include "adapters/kafka/read/stream.h"
#include "core/base/clock.h"
#include "core/loop/thread.h"

#include <errno.h>
#include <time.h>

#define RINGS_BYTES       (64ull << 20) // of a cluster
#define RING_BYTES        (32ull << 20) // of a stream: so far apart its readers may be
#define CATCHUP_SLOTS_MAX 16u           // at a time; each may hold some MiB in librdkafka
#define TICK_NS           (200 * MS_NS)
#define BLOCKED_NS        (10 * MS_NS) // the same when a fetch waits for a slot
#define RETRY_NS          S_NS
#define SLOT_KEEP_NS      (3 * S_NS)

struct fetcher {
	struct adapter *adapter;
	pthread_t thread;
	bool started;
	struct client
		*clients[PARTITION_READER_SLOTS]; // atomic; the slots' are made when first needed
	pthread_mutex_t making_lock;
	bool down; // no broker has been reached since the last message came
	uint32_t slot_count;
	pthread_mutex_t lock;
	struct list readers;
	struct log_rings rings;
	bool closed; // under the lock: nothing is read any more
	pthread_mutex_t wake_lock;
	pthread_cond_t wake;
	struct list ready, asked;
	bool stopping;
	// The thread's.
	uint64_t tick_ns;
	bool asked_turn;
};

// ---- waking the thread

static void thread_wake(struct fetcher *fetcher, struct list *queue, struct list *item)
{
	pthread_mutex_lock(&fetcher->wake_lock);
	if (list_empty(item)) {
		list_push_back(queue, item);
		pthread_cond_signal(&fetcher->wake);
	}
	pthread_mutex_unlock(&fetcher->wake_lock);
}

static void on_arrived(struct stream *stream)
{
	struct partition_reader *reader = stream->config.owner;

	thread_wake(reader->fetcher, &reader->fetcher->ready, &stream->in_ready);
}

static void reader_wake(struct partition_reader *reader)
{
	thread_wake(reader->fetcher, &reader->fetcher->asked, &reader->in_asked);
}

static void forget_wake(struct fetcher *fetcher, struct list *item)
{
	pthread_mutex_lock(&fetcher->wake_lock);
	list_unlink(item);
	pthread_mutex_unlock(&fetcher->wake_lock);
}

// ---- consumer handles

// NULL: it was not needed yet.
static struct client *client_there(const struct fetcher *fetcher, size_t slot)
{
	return __atomic_load_n(&fetcher->clients[slot], __ATOMIC_ACQUIRE);
}

static bool is_throttled(const struct fetcher *fetcher)
{
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i) {
		const struct client *client = client_there(fetcher, i);

		if (client && clock_now_ns() < client_throttled_ns(client))
			return true;
	}
	return false;
}

// Something to be told.
static bool is_error(struct fetcher *fetcher, rd_kafka_event_t *event)
{
	if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_ERROR)
		return false;
	if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		return true;
	fetcher->down = true;
	return !is_throttled(fetcher); // or we hung up
}

static void on_event(void *ctx, rd_kafka_event_t *event)
{
	struct fetcher *fetcher = ctx;

	if (is_error(fetcher, event))
		log_warn(fetcher->adapter->log, "KAFKA-CLUSTER", "%s",
			 rd_kafka_event_error_string(event));
}

// The follower's handle has told the same.
static void on_slot_event(void *ctx, rd_kafka_event_t *event)
{
	struct fetcher *fetcher = ctx;

	if (is_error(fetcher, event))
		log_debug(fetcher->adapter->log, "KAFKA-READ", "%s",
			  rd_kafka_event_error_string(event));
}

static int consumer_start(struct fetcher *fetcher, size_t slot, char **ret_error)
{
	char queue[16], messages[16];
	struct client *client;
	int r;
	const char *const settings[][2] = {
		{"isolation.level", "read_committed"},
		{"check.crcs", "true"},
		{"enable.partition.eof", "true"},
		{"auto.offset.reset", "error"},
		{"enable.auto.commit", "false"},
		{"enable.auto.offset.store", "false"},
		// A follower's request stays at the broker until something comes, and so long a
		// partition that joins has to wait; a slot does not stay at the end.
		{"fetch.wait.max.ms", slot ? "10" : "100"},
		{"fetch.min.bytes", "1"},
		{"fetch.message.max.bytes", "1048576"},
		{"queued.max.messages.kbytes", queue},
		{"queued.min.messages", messages},
		{"fetch.error.backoff.ms", "100"},
		{"socket.timeout.ms", CLIENT_SILENCE_TEXT},
		// Since 2.2; before, see stream.c.
		{rd_kafka_version() >= 0x020200ff ? "fetch.queue.backoff.ms" : NULL, "10"},
		{NULL, NULL},
	};
	const struct client_config config = {.options = &fetcher->adapter->options,
					     .type = RD_KAFKA_CONSUMER,
					     .role = slot ? "catchup" : "follow",
					     .settings = settings,
					     .by_hand = true,
					     .event = slot ? on_slot_event : on_event,
					     .ctx = fetcher,
					     .log = fetcher->adapter->log};

	snprintf(queue, sizeof queue, "%u", KAFKA_QUEUE_BYTES >> 10);
	snprintf(messages, sizeof messages, "%u", KAFKA_QUEUE_MESSAGES);
	r = client_start(&config, &client, ret_error);
	if (r >= 0)
		__atomic_store_n(&fetcher->clients[slot], client, __ATOMIC_RELEASE);
	return r;
}

static struct client *consumer_of(struct fetcher *fetcher, size_t slot)
{
	_cleanup_(freep) char *error = NULL;
	struct client *client;

	pthread_mutex_lock(&fetcher->making_lock);
	if (!fetcher->clients[slot] && consumer_start(fetcher, slot, &error) < 0)
		log_warn(fetcher->adapter->log, "KAFKA-READ", "no consumer for catching up: %s",
			 error ? error : "no memory");
	client = fetcher->clients[slot];
	pthread_mutex_unlock(&fetcher->making_lock);
	return client;
}

struct client *fetcher_catchup_client(struct fetcher *fetcher)
{
	return consumer_of(fetcher, 1);
}

// ---- streams

static void stream_end(struct partition_reader *reader, size_t slot)
{
	struct fetcher *fetcher = reader->fetcher;
	struct stream *stream = reader->streams[slot];

	pthread_mutex_lock(&fetcher->lock);
	reader->streams[slot] = NULL;
	pthread_mutex_unlock(&fetcher->lock);
	fetcher->slot_count -= slot > 0;
	stream_mute(stream);
	forget_wake(fetcher, &stream->in_ready);
	stream_stop(stream);
}

static void stream_begin(struct partition_reader *reader, size_t slot, uint64_t offset,
			 uint64_t now_ns)
{
	struct fetcher *fetcher = reader->fetcher;
	struct client *client = consumer_of(fetcher, slot);
	struct stream *stream;
	const struct stream_config config = {.handle = client ? client_handle(client) : NULL,
					     .physical = reader->physical,
					     .partition = reader->number,
					     .offset = offset,
					     .lock = &fetcher->lock,
					     .rings = &fetcher->rings,
					     .arrived = on_arrived,
					     .owner = reader};

	if (!client || stream_start(&config, &stream) < 0) {
		reader->retry_ns = now_ns + RETRY_NS;
		return;
	}
	stream->since_ns = stream->used_ns = now_ns;
	fetcher->slot_count += slot > 0;
	pthread_mutex_lock(&fetcher->lock);
	reader->streams[slot] = stream;
	pthread_mutex_unlock(&fetcher->lock);
}

// What the stream knows now is known to all.
static void stream_tell(struct partition_reader *reader, struct stream *stream)
{
	struct fetcher *fetcher = reader->fetcher;

	pthread_mutex_lock(&fetcher->lock);
	if (reader->partition && stream->holes)
		kafka_topic_holes_found(reader->partition->topic);
	if (reader->partition && stream->truncated)
		kafka_topic_raise_first(reader->partition, stream->first);
	if (reader->partition)
		kafka_topic_raise_end(reader->partition, stream->next);
	pthread_mutex_unlock(&fetcher->lock);
	stream->truncated = stream->holes = false;
	fetcher->down = false;
}

// Another partition object of the same topic, an earlier generation of it perhaps, reads it on that
// handle.
static bool is_taken(const struct partition_reader *reader, size_t slot)
{
	LIST_FOREACH(node, next, &reader->fetcher->readers)
	{
		const struct partition_reader *other =
			LIST_ENTRY(node, struct partition_reader, in_fetcher);

		if (other != reader && other->streams[slot] && other->number == reader->number &&
		    strcmp(other->physical, reader->physical) == 0)
			return true;
	}
	return false;
}

// ---- what the thread does for a partition

static bool is_watched(const struct partition_reader *reader)
{
	return reader->partition &&
	       !__atomic_load_n(&reader->partition->topic->gone, __ATOMIC_ACQUIRE) &&
	       kafka_topic_watched(reader->partition->topic);
}

// Streams of the partition that may not, or need not, go on.
static void streams_check(struct partition_reader *reader, uint64_t now_ns)
{
	struct fetcher *fetcher = reader->fetcher;
	bool ends[PARTITION_READER_SLOTS], gone, watched;

	pthread_mutex_lock(&fetcher->lock);
	gone = partition_reader_is_gone(reader);
	watched = is_watched(reader);
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i) {
		const struct stream *stream = reader->streams[i];
		bool idle = stream && !stream->waiting && now_ns >= stream->used_ns + SLOT_KEEP_NS;

		ends[i] = stream && (gone || (idle && (i > 0 || !watched)));
	}
	pthread_mutex_unlock(&fetcher->lock);
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i)
		if (ends[i])
			stream_end(reader, i);
}

// Where the follower is to begin: no fetch has asked for more than is told of the end.
static bool follower_wanted(struct partition_reader *reader, uint64_t now_ns, uint64_t *ret_offset)
{
	struct fetcher *fetcher = reader->fetcher;
	bool wanted;

	if (reader->streams[0] || now_ns < reader->retry_ns)
		return false;
	pthread_mutex_lock(&fetcher->lock);
	wanted = is_watched(reader) &&
		 __atomic_load_n(&reader->partition->known, __ATOMIC_ACQUIRE) &&
		 !is_taken(reader, 0);
	if (wanted)
		*ret_offset = __atomic_load_n(&reader->partition->end, __ATOMIC_ACQUIRE);
	pthread_mutex_unlock(&fetcher->lock);
	return wanted;
}

// Makes room for one more slot by stopping the one that was left alone longest.
static bool slot_make_room(struct fetcher *fetcher, uint64_t now_ns)
{
	struct partition_reader *from = NULL;
	size_t slot = 0;
	uint64_t used_ns = now_ns - CATCHUP_SLOT_GAP_NS;

	if (fetcher->slot_count < CATCHUP_SLOTS_MAX)
		return true;
	pthread_mutex_lock(&fetcher->lock);
	LIST_FOREACH(node, next, &fetcher->readers)
	{
		struct partition_reader *reader =
			LIST_ENTRY(node, struct partition_reader, in_fetcher);

		for (size_t i = 1; i < PARTITION_READER_SLOTS; ++i) {
			const struct stream *stream = reader->streams[i];

			if (stream && !stream->waiting && stream->used_ns <= used_ns) {
				used_ns = stream->used_ns;
				from = reader;
				slot = i;
			}
		}
	}
	pthread_mutex_unlock(&fetcher->lock);
	if (from)
		stream_end(from, slot);
	return from;
}

// Answers and places the fetches that wait. false: nothing more can be done at present.
static bool place_one(struct partition_reader *reader, uint64_t now_ns)
{
	struct fetcher *fetcher = reader->fetcher;
	struct reader_handles handles = {.down = fetcher->down};
	enum catchup_slot_verdict verdict;
	uint64_t offset;
	size_t slot;

	pthread_mutex_lock(&fetcher->lock);
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i) {
		const struct client *client = client_there(fetcher, i);

		handles.closed[i] = now_ns < reader->retry_ns || is_taken(reader, i);
		if (client)
			handles.throttled_ns[i] = client_throttled_ns(client);
	}
	verdict = partition_reader_look(reader, &handles, now_ns, &slot, &offset);
	pthread_mutex_unlock(&fetcher->lock);
	if (verdict == CATCHUP_SLOT_PUT && !reader->streams[slot] &&
	    !slot_make_room(fetcher, now_ns))
		verdict = CATCHUP_SLOT_NONE;
	if (verdict == CATCHUP_SLOT_NONE)
		fetcher->tick_ns = MIN(fetcher->tick_ns, now_ns + BLOCKED_NS);
	if (verdict != CATCHUP_SLOT_PUT)
		return false;
	if (reader->streams[slot])
		stream_end(reader, slot);
	stream_begin(reader, slot, offset, now_ns);
	return true;
}

static void reader_end(struct partition_reader *reader)
{
	struct fetcher *fetcher = reader->fetcher;

	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i)
		if (reader->streams[i])
			stream_end(reader, i);
	pthread_mutex_lock(&fetcher->lock);
	partition_reader_end_all(reader, CODE_BACKEND_DOWN);
	list_unlink(&reader->in_fetcher);
	if (reader->partition)
		reader->partition->reader = NULL;
	pthread_mutex_unlock(&fetcher->lock);
	forget_wake(fetcher, &reader->in_asked);
	partition_reader_free(reader);
}

static void requests_place(struct partition_reader *reader, uint64_t now_ns)
{
	struct fetcher *fetcher = reader->fetcher;

	while (place_one(reader, now_ns))
		;
	pthread_mutex_lock(&fetcher->lock);
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i) {
		struct stream *stream = reader->streams[i];

		if (stream && stream->more && !stream->held)
			on_arrived(stream);
	}
	pthread_mutex_unlock(&fetcher->lock);
}

static void stream_fail(struct partition_reader *reader, const struct stream *stream,
			uint64_t now_ns)
{
	struct fetcher *fetcher = reader->fetcher;

	pthread_mutex_lock(&fetcher->lock);
	partition_reader_fail(reader, stream, now_ns);
	pthread_mutex_unlock(&fetcher->lock);
	reader->retry_ns = now_ns + RETRY_NS;
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i)
		if (reader->streams[i] == stream)
			stream_end(reader, i);
}

static void stream_turn(struct stream *stream, uint64_t now_ns)
{
	struct partition_reader *reader = stream->config.owner;

	if (stream_serve(stream))
		stream_tell(reader, stream);
	if (stream->code != CODE_OK)
		stream_fail(reader, stream, now_ns);
	requests_place(reader, now_ns);
}

// All there is to do for a partition. Frees one that is forgotten.
static void reader_turn(struct partition_reader *reader, uint64_t now_ns)
{
	struct fetcher *fetcher = reader->fetcher;
	uint64_t offset;
	bool forgotten;

	pthread_mutex_lock(&fetcher->lock);
	forgotten = !reader->partition;
	pthread_mutex_unlock(&fetcher->lock);
	if (forgotten) {
		reader_end(reader);
		return;
	}
	streams_check(reader, now_ns);
	if (follower_wanted(reader, now_ns, &offset))
		stream_begin(reader, 0, offset, now_ns);
	requests_place(reader, now_ns);
}

// ---- the thread

// Waits for something to do until the time is up. false: the thread is to end.
static bool next_item(struct fetcher *fetcher, struct stream **ret_stream,
		      struct partition_reader **ret_follow)
{
	struct timespec until = {(time_t)(fetcher->tick_ns / S_NS),
				 (long)(fetcher->tick_ns % S_NS)};
	struct list *item;
	bool going;

	*ret_stream = NULL;
	*ret_follow = NULL;
	pthread_mutex_lock(&fetcher->wake_lock);
	while (!fetcher->stopping && list_empty(&fetcher->asked) && list_empty(&fetcher->ready))
		if (pthread_cond_timedwait(&fetcher->wake, &fetcher->wake_lock, &until))
			break;
	fetcher->asked_turn = !fetcher->asked_turn;
	item = fetcher->asked_turn ? list_pop_front(&fetcher->asked) : NULL;
	if (item)
		*ret_follow = LIST_ENTRY(item, struct partition_reader, in_asked);
	else if ((item = list_pop_front(&fetcher->ready)))
		*ret_stream = LIST_ENTRY(item, struct stream, in_ready);
	going = !fetcher->stopping;
	pthread_mutex_unlock(&fetcher->wake_lock);
	return going;
}

// Every client and reader has a turn.
static void tick_all(struct fetcher *fetcher, uint64_t now_ns)
{
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i) {
		struct client *client = client_there(fetcher, i);

		if (client)
			client_serve(client);
	}
	pthread_mutex_lock(&fetcher->lock);
	fetcher->tick_ns = now_ns + (list_empty(&fetcher->readers) ? S_NS : TICK_NS);
	LIST_FOREACH(node, next, &fetcher->readers)
	reader_wake(LIST_ENTRY(node, struct partition_reader, in_fetcher));
	pthread_mutex_unlock(&fetcher->lock);
}

static void *fetcher_run(void *arg)
{
	struct fetcher *fetcher = arg;
	struct stream *stream;
	struct partition_reader *reader;

	while (next_item(fetcher, &stream, &reader)) {
		uint64_t now_ns = clock_now_ns();

		if (reader)
			reader_turn(reader, now_ns);
		if (stream)
			stream_turn(stream, now_ns);
		if (now_ns >= fetcher->tick_ns)
			tick_all(fetcher, now_ns);
	}
	return NULL;
}

// ---- slots

int fetcher_start(struct adapter *adapter, char **ret_error)
{
	struct fetcher *fetcher = adapter->fetcher = calloc(1, sizeof *fetcher);
	pthread_condattr_t monotonic;
	int r;

	if (!fetcher)
		return -ENOMEM;
	fetcher->adapter = adapter;
	list_init(&fetcher->readers);
	list_init(&fetcher->ready);
	list_init(&fetcher->asked);
	log_rings_init(&fetcher->rings, RINGS_BYTES, RING_BYTES, LOG_RING_CHUNKS);
	pthread_mutex_init(&fetcher->lock, NULL);
	pthread_mutex_init(&fetcher->wake_lock, NULL);
	pthread_mutex_init(&fetcher->making_lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&fetcher->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	r = consumer_start(fetcher, 0, ret_error);
	if (r >= 0)
		r = thread_start("kafka-fetch", fetcher_run, fetcher, &fetcher->thread);
	fetcher->started = r >= 0;
	return r;
}

void fetcher_stop(struct fetcher *fetcher)
{
	if (!fetcher)
		return;
	if (fetcher->started) {
		pthread_mutex_lock(&fetcher->wake_lock);
		fetcher->stopping = true;
		pthread_cond_signal(&fetcher->wake);
		pthread_mutex_unlock(&fetcher->wake_lock);
		pthread_join(fetcher->thread, NULL);
	}
	pthread_mutex_lock(&fetcher->lock);
	fetcher->closed = true;
	pthread_mutex_unlock(&fetcher->lock);
	LIST_FOREACH(node, next, &fetcher->readers)
	{
		reader_end(LIST_ENTRY(node, struct partition_reader, in_fetcher));
	}
}

void fetcher_free(struct fetcher *fetcher)
{
	if (!fetcher)
		return;
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i)
		client_stop(fetcher->clients[i]);
	pthread_cond_destroy(&fetcher->wake);
	pthread_mutex_destroy(&fetcher->wake_lock);
	pthread_mutex_destroy(&fetcher->making_lock);
	pthread_mutex_destroy(&fetcher->lock);
	free(fetcher);
}

// Under the lock. NULL: no memory, or nothing is read any more.
static struct partition_reader *reader_of(struct fetcher *fetcher,
					  struct kafka_partition *partition)
{
	struct partition_reader *reader = partition->reader;

	if (reader)
		return reader;
	reader = fetcher->closed ? NULL : partition_reader_new(fetcher, partition);
	if (reader)
		list_push_back(&fetcher->readers, &reader->in_fetcher);
	partition->reader = reader;
	return reader;
}

bool fetcher_fetch(struct adapter *adapter, struct log_fetch *fetch)
{
	struct kafka_partition *partition = kafka_topic_partition(fetch->topic, fetch->partition);
	bool gone = !partition || __atomic_load_n(&fetch->topic->gone, __ATOMIC_ACQUIRE);
	struct fetcher *fetcher = adapter->fetcher;
	uint64_t now_ns = clock_now_ns(), first;
	struct partition_reader *reader;
	bool answered = false, waits = false, wake = true;

	fetch->buf = NULL;
	fetch->entries = NULL;
	fetch->count = 0;
	fetch->next = fetch->offset;
	fetch->code = gone ? CODE_NOT_FOUND : CODE_OVERLOADED;
	if (gone)
		return true;
	// What is deleted may be in memory still.
	first = __atomic_load_n(&partition->first, __ATOMIC_ACQUIRE);
	if (fetch->offset < first) {
		fetch->next = first;
		fetch->code = CODE_OK;
		return true;
	}
	pthread_mutex_lock(&fetcher->lock);
	reader = reader_of(fetcher, partition);
	if (reader)
		answered = partition_reader_answer(reader, fetch, now_ns, &wake);
	if (fetcher->closed)
		fetch->code = CODE_BACKEND_DOWN;
	if (reader && !answered)
		waits = partition_reader_wait(reader, fetch, now_ns);
	// The event may come, and the topic be closed, as soon as the lock is free.
	if (reader && wake)
		reader_wake(reader);
	pthread_mutex_unlock(&fetcher->lock);
	return !waits;
}

void fetcher_follow(struct adapter_topic *topic)
{
	struct fetcher *fetcher = topic->adapter->fetcher;
	uint32_t count = __atomic_load_n(&topic->partition_count, __ATOMIC_ACQUIRE);

	pthread_mutex_lock(&fetcher->lock);
	for (uint32_t i = 0; i < count; ++i) {
		struct partition_reader *reader =
			reader_of(fetcher, kafka_topic_partition(topic, i));

		if (reader)
			reader_wake(reader);
	}
	pthread_mutex_unlock(&fetcher->lock);
}

void fetcher_forget(struct kafka_partition *partition)
{
	struct fetcher *fetcher = partition->topic->adapter->fetcher;
	struct partition_reader *reader;

	if (!fetcher)
		return;
	pthread_mutex_lock(&fetcher->lock);
	reader = partition->reader;
	if (reader) {
		reader->partition = NULL;
		reader_wake(reader);
	}
	pthread_mutex_unlock(&fetcher->lock);
}
