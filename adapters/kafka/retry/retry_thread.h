// What the files of the thread of the retry stores share. All of it is the thread's, unless it says
// otherwise.
//
// retry_thread.c runs it; retry_store.c keeps the stores, retry_job.c what is asked of them,
// retry_probe.c whether a topic is there; retry_stream.c reads topics, retry_consume.c takes what
// comes, retry_readahead.c keeps what nobody wanted yet.
#pragma once

#include "adapters/kafka/retry/retry.h"

#define RETRY_NO_STREAM UINT64_MAX

struct retry_stores {
	struct adapter *adapter;
	rd_kafka_t *handle;         // the fetcher's, once something is to be read
	rd_kafka_queue_t *messages; // atomic; of that handle
	pthread_cond_t wake;        // before
	uint64_t taken_bytes;       // since it was last looked how much waits there
	uint32_t taken;
	bool full; // so much has waited there that librdkafka may be asleep over it
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	struct retry_letter *first, **last;
	bool stopping, stopped;
	// The thread's own.
	struct map stores;
	struct list reading, waiting; // of retry_store.line
	uint32_t reading_count;
	uint64_t tick_ns;
	int64_t rows;  // atomic
	int under_way; // atomic: batches, and questions of retry_probe.c
};

// retry_store.c
void retry_store_free(struct retry_store *store);
void retry_store_forget_topic(struct retry_store *store); // stops reading; no row is known any more

// retry_readahead.c
rd_kafka_message_t *retry_ahead_pop(struct retry_store *store); // the caller's; there is one
void retry_ahead_clear(struct retry_store *store);
bool retry_ahead_push(struct retry_store *store, rd_kafka_message_t *message);

// retry_stream.c
void retry_stream_stop(struct retry_store *store);
bool retry_stream_make_room(struct retry_stores *stores); // false: all are at work
void retry_stream_go(struct retry_store *store);
void retry_streams_wake(struct retry_stores *stores);

// retry_thread.c; false: there is no consumer
bool retry_consumer_take(struct retry_stores *stores);

// retry_job.c
struct retry_job *retry_job_first(const struct retry_store *store); // at work; NULL: none
void retry_job_extend(struct retry_job *job);                       // its deadline
void retry_job_plan(struct retry_job *job);                         // the rows are up to date
bool retry_job_take_value(struct retry_job *job, const rd_kafka_message_t *message);
void retry_job_read(struct retry_job *job); // nothing more of what it wants will come
void retry_job_again(struct retry_job *job);
void retry_job_end(struct retry_job *job, enum code code, const char *text);
void retry_job_finish(struct retry_job *job, struct retry_rows *rows, enum code code,
		      const char *text); // the same for one that is in no queue
void retry_job_next(struct retry_store *store);

// retry_probe.c: retry_job_plan() or the stream goes on
void retry_ask(struct retry_job *job);

// retry_consume.c
void retry_message_serve(struct retry_stores *stores, rd_kafka_message_t *message);
