// One thread owns the retry stores of a cluster's groups. All of it is the thread's, unless it says
// otherwise.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"
#include "core/base/map.h"
#include "core/loop/loop.h"

#include <librdkafka/rdkafka.h>

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
	struct loop_task *first, **last; // events
	bool stopping, stopped;
	// The thread's own.
	struct map stores;
	struct list reading, waiting; // of retry_store.line
	uint32_t reading_count;
	uint64_t tick_ns;
	int64_t rows;  // atomic
	int under_way; // atomic: batches, and probes for topics
};

int retry_thread_start(struct adapter *adapter);      // after the fetcher
void retry_thread_stop(struct retry_stores *retries); // accepts NULL; ends what is asked of it
void retry_thread_free(struct retry_stores *retries); // accepts NULL

// Something for the thread to do. false: it has ended; the event is the caller's again. @thread any
bool retry_thread_post(struct retry_stores *stores, struct loop_task *event);
int64_t retry_thread_count_rows(struct retry_stores *stores,
				int64_t change); // of all stores. @thread any
// Something that comes back as an event begins (1) or has ended (-1). @thread any
void retry_thread_under_way(struct retry_stores *stores, int change);
bool retry_thread_is_stopping(struct retry_stores *stores);   // @thread any
bool retry_thread_take_consumer(struct retry_stores *stores); // false: there is no consumer
