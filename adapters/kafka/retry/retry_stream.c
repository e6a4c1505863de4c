// Reads retry topics: chooses which stores are read at a time and from which position, and passes
// the messages on.
//
// At most READERS topics are read at a time, in turn. A stream stays open for a while after a job,
// and what it brings is kept within bounds (the read-ahead), because the next rows that are due
// usually follow the last ones or have just been written. Each message goes to the job that is at
// work in its store.
//
// Invariants: a store is in `reading` of the thread while it streams, in `waiting` while a job of
// it waits for a turn, and in neither otherwise; the read-ahead holds all messages from
// `ahead_from` up to `position`. What it does not do: know what a message means (retry_rows.c).

#include "adapters/kafka/retry/retry_stream.h"

#include "adapters/kafka/client/error.h"

#define AHEAD_BYTES (1u << 20)
#define READERS     8u
#define NEAR        2000u // messages to read past rather than begin anew

// ---- the read-ahead

rd_kafka_message_t *retry_stream_pop(struct retry_store *store)
{
	rd_kafka_message_t *message = store->ahead[store->ahead_head];

	store->ahead_head = (store->ahead_head + 1) % RETRY_AHEAD;
	--store->ahead_count;
	store->ahead_bytes -= message->len;
	store->ahead_from = (uint64_t)message->offset + 1;
	return message;
}

void retry_stream_clear(struct retry_store *store)
{
	while (store->ahead_count)
		rd_kafka_message_destroy(retry_stream_pop(store));
}

// false: there is no room.
static bool readahead_push(struct retry_store *store, rd_kafka_message_t *message)
{
	if (store->ahead_count == RETRY_AHEAD ||
	    (store->ahead_count && store->ahead_bytes + message->len > AHEAD_BYTES))
		return false;
	store->ahead[(store->ahead_head + store->ahead_count++) % RETRY_AHEAD] = message;
	store->ahead_bytes += message->len;
	return true;
}

// ---- reading

void retry_stream_stop(struct retry_store *store)
{
	if (!store->streaming)
		return;
	rd_kafka_consume_stop(store->reading, 0);
	store->streaming = false;
	store->position = RETRY_NO_STREAM;
	list_unlink(&store->line);
	--store->stores->reading_count;
}

bool retry_stream_make_room(struct retry_stores *stores)
{
	if (stores->reading_count < READERS)
		return true;
	LIST_FOREACH(node, next, &stores->reading)
	{
		struct retry_store *store = LIST_ENTRY(node, struct retry_store, line);

		if (list_empty(&store->jobs)) {
			retry_stream_stop(store);
			return true;
		}
	}
	return false;
}

// librdkafka up to 2.1 may sleep for a second over a queue that was full (stream.c).
void retry_stream_wake_all(struct retry_stores *stores)
{
	LIST_FOREACH(node, next, &stores->reading)
	{
		struct retry_store *store = LIST_ENTRY(node, struct retry_store, line);

		if (store->position) // something has come; before that it may be behind the first
			rd_kafka_seek(store->reading, 0, (int64_t)store->position, 0);
	}
}

static uint64_t wanted_from(const struct retry_store *store, const struct retry_job *job)
{
	return job->phase == JOB_READING ? job->wants[job->want_at].written : store->next;
}

// Brings the stream to where the first job wants it, when it is its turn.
void retry_stream_go(struct retry_store *store)
{
	struct retry_stores *stores = store->stores;
	struct retry_job *job = retry_store_first_job(store);
	uint64_t from = wanted_from(store, job);

	// The end is told once a stream, and must be the current one.
	if (store->streaming && job->phase == JOB_READING && from >= store->position &&
	    from - store->position <= NEAR)
		return;
	retry_stream_stop(store);
	retry_stream_clear(store);
	if (!retry_stream_make_room(stores)) {
		if (list_empty(&store->line))
			list_push_back(&stores->waiting, &store->line);
		return;
	}
	list_unlink(&store->line);
	// Not named before it is there: the client would remember that it is not.
	if (!store->reading && retry_thread_take_consumer(stores))
		store->reading = rd_kafka_topic_new(stores->handle, store->name, NULL);
	// From the first there is, because the beginning of a topic may be deleted.
	if (!store->reading ||
	    rd_kafka_consume_start_queue(store->reading, 0,
					 from ? (int64_t)from : RD_KAFKA_OFFSET_BEGINNING,
					 stores->messages) < 0) {
		retry_store_job_end(job,
				    store->reading ? retry_topic_code(rd_kafka_last_error())
						   : CODE_BACKEND_DOWN,
				    "the retry topic cannot be read");
		return;
	}
	store->streaming = true;
	store->position = store->ahead_from = from;
	list_push_back(&stores->reading, &store->line);
	++stores->reading_count;
}

// ---- what comes

static struct slice slice_of(const void *data, size_t size)
{
	return (struct slice){data, data ? size : 0};
}

// false: the job has ended badly.
static bool row_take(struct retry_store *store, struct retry_job *job,
		     const rd_kafka_message_t *message)
{
	uint32_t before = store->rows.index.count;
	int r = retry_rows_apply(&store->rows, (uint64_t)message->offset,
				 slice_of(message->key, message->key_len),
				 slice_of(message->payload, message->len));

	retry_store_changed(store, (int64_t)store->rows.index.count - before);
	if (r == RETRY_E_FOREIGN) {
		log_warn(store->stores->adapter->log, "KAFKA-RETRY-FOREIGN",
			 "%s: the message at %lld is not ours", store->name,
			 (long long)message->offset);
		r = 0;
	}
	if (r)
		retry_store_job_end(job, r < 0 ? CODE_OVERLOADED : CODE_BACKEND_ERROR,
				    r < 0 ? NULL
					  : "its retry topic was written by a newer version");
	return r == 0;
}

// Destroys the message, or keeps it.
static void message_take(struct retry_store *store, rd_kafka_message_t *message)
{
	struct retry_job *job = retry_store_first_job(store);
	uint64_t offset = (uint64_t)message->offset;

	if (offset < store->position) { // it was on its way when the stream was woken up
		rd_kafka_message_destroy(message);
		return;
	}
	store->position = offset + 1;
	if (job)
		retry_store_job_extend(job);
	if (job && job->phase == JOB_CATCHING_UP) {
		if (offset >= store->next && row_take(store, job, message))
			store->next = offset + 1;
		store->ahead_from = store->position;
	} else if (job && job->phase == JOB_READING) {
		store->ahead_from = store->position;
		if (!retry_store_job_take_value(job, message))
			retry_stream_go(store);
	} else if (readahead_push(store, message)) {
		return;
	} else {
		retry_stream_stop(store);
	}
	rd_kafka_message_destroy(message);
}

static void end_reached(struct retry_store *store, uint64_t end)
{
	struct retry_job *job = retry_store_first_job(store);

	store->position = MAX(store->position, end);
	if (!job || end < store->written) // our own writes are not in sight yet
		return;
	if (job->phase == JOB_CATCHING_UP) {
		store->next = MAX(store->next, end);
		store->loaded = true;
		retry_store_job_plan(job);
	} else if (job->phase == JOB_READING) {
		job->missing += job->want_count - job->want_at;
		job->want_at = job->want_count;
		retry_store_job_read(job);
	}
}

// The topic is not there, or is another than the one that was read.
static bool tells_loss(rd_kafka_resp_err_t error)
{
	return error == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
	       error == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE ||
	       kafka_error_is_missing_topic(error);
}

static void message_error(struct retry_store *store, const rd_kafka_message_t *message)
{
	struct retry_job *job = retry_store_first_job(store);

	if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		end_reached(store, (uint64_t)message->offset);
	} else if (tells_loss(message->err)) {
		retry_store_topic_lost(store, rd_kafka_err2str(message->err));
	} else if (!kafka_error_is_transient(message->err)) {
		retry_stream_stop(store);
		if (job)
			retry_store_job_end(job, kafka_error_code(message->err),
					    rd_kafka_err2str(message->err));
	} // else the client goes on by itself; the deadline ends it
}

void retry_stream_serve(struct retry_stores *stores, rd_kafka_message_t *message)
{
	LIST_FOREACH(node, next, &stores->reading)
	{
		struct retry_store *store = LIST_ENTRY(node, struct retry_store, line);

		if (store->reading != message->rkt)
			continue;
		if (!message->err) {
			message_take(store, message);
			return;
		}
		message_error(store, message);
		break;
	}
	rd_kafka_message_destroy(message);
}
