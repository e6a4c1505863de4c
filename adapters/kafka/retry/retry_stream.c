// Streams: which stores are read at a time, and from where.
//
// At most READERS topics are read at a time, in turn. A stream stays for a while after a job, and
// what it brings is kept (retry_readahead.c): the next rows that are due lie behind the last ones,
// or have just been written.

#include "adapters/kafka/client/error.h"
#include "adapters/kafka/retry/retry.h"
#include "adapters/kafka/retry/retry_thread.h"

#define READERS 8u
#define NEAR    2000u // messages to read past rather than begin anew

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
void retry_streams_wake(struct retry_stores *stores)
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
	struct retry_job *job = retry_job_first(store);
	uint64_t from = wanted_from(store, job);

	// The end is told once a stream, and must be that of now.
	if (store->streaming && job->phase == JOB_READING && from >= store->position &&
	    from - store->position <= NEAR)
		return;
	retry_stream_stop(store);
	retry_ahead_clear(store);
	if (!retry_stream_make_room(stores)) {
		if (list_empty(&store->line))
			list_push_back(&stores->waiting, &store->line);
		return;
	}
	list_unlink(&store->line);
	// Not named before it is there: the client would remember that it is not.
	if (!store->reading && retry_consumer_take(stores))
		store->reading = rd_kafka_topic_new(stores->handle, store->name, NULL);
	// From the first there is, because the beginning of a topic may be deleted.
	if (!store->reading ||
	    rd_kafka_consume_start_queue(store->reading, 0,
					 from ? (int64_t)from : RD_KAFKA_OFFSET_BEGINNING,
					 stores->messages) < 0) {
		retry_job_end(job,
			      store->reading ? kafka_error_code(rd_kafka_last_error())
					     : CODE_BACKEND_DOWN,
			      "the retry topic cannot be read");
		return;
	}
	store->streaming = true;
	store->position = store->ahead_from = from;
	list_push_back(&stores->reading, &store->line);
	++stores->reading_count;
}
