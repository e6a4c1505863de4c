// One partition being read from some position on, on one consumer handle: what librdkafka brings
// becomes chunks in the stream's ring.
//
// Everything is for the fetcher's thread, except the ring and what stands beside it, which other
// threads read under the fetcher's lock.
#pragma once

#include "adapters/kafka/topic/message.h"
#include "adapters/log/ring.h"
#include "core/base/code.h"

#include <pthread.h>

// librdkafka's queue of a partition that is read, or of all retry stores; then it asks for no more.
#define KAFKA_QUEUE_BYTES    (4u << 20)
#define KAFKA_QUEUE_MESSAGES 100000u

struct stream;

struct stream_config {
	rd_kafka_t *handle;
	const char *physical; // stays
	uint32_t partition;
	uint64_t offset;
	pthread_mutex_t *lock;   // for ring and furthest
	struct log_rings *rings; // under lock
	// The stream wants to be served. @thread librdkafka's; calls nothing of librdkafka
	void (*arrived)(struct stream *stream);
	void *owner;
};

// A chunk that is being filled (stream.c).
struct chunk_builder {
	struct log_chunk *chunk; // with a reference of its own; NULL: none
	uint32_t count;          // filled in; chunk->count is what readers may see
	uint8_t *floor;          // where the records begin
	bool shown;              // was put into a ring
};

struct stream {
	struct stream_config config;
	rd_kafka_topic_t *topic;
	rd_kafka_queue_t *queue;
	struct chunk_builder builder;
	uint64_t next;        // to be read
	uint64_t first;       // the first position there is, once `truncated`
	bool truncated;       // the log begins behind where it was asked to begin
	bool holes;           // inside the log there were positions without a message
	bool from_first;      // it is being found out where the log begins
	bool more;            // there may be more in the queue
	bool full;            // the queue has been full, and librdkafka may be asleep over it
	bool ended;           // `next` was the end when it was last heard of
	enum code code;       // of its end: it is of no use any more; CODE_OK: it lives
	struct list in_ready; // the owner's
	// Under the lock.
	struct log_ring ring;
	uint64_t furthest; // the position that readers have come to
	bool held;         // it has read ahead far enough
	// The owner's notes on its use.
	uint64_t since_ns, used_ns;
	uint32_t waiting;
	bool served;
};

int stream_start(const struct stream_config *config, struct stream **ret); // -EIO, -ENOMEM
void stream_mute(struct stream *stream); // `arrived` is not called any more
// Blocks for some steps of librdkafka. What others hold of the ring stays.
void stream_stop(struct stream *stream);
// Takes what has come, a bounded part of it (`more`). true: something is known that was not.
bool stream_serve(struct stream *stream);
// Under the lock: a reader has read, or wants to read, up to here. true: it was held and goes on.
bool stream_reach(struct stream *stream, uint64_t offset);
