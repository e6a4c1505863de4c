// Reads the stream of a topic from a place on: a consumer on a channel of its own, until its owner
// has enough.
//
// Everything @thread the link's loop.
#pragma once

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"
#include "adapters/rabbitmq/message/arriving.h"
#include "adapters/seek_target.h"

struct rabbitmq_stream;

// A message of it. The owner takes `arriving.buf`. Marks of ours come, too: copies to the stream
// itself (`arriving.is_copy`).
struct rabbitmq_stream_message {
	uint64_t offset;
	struct rabbitmq_arriving arriving;
};

// Embedded in its owner until done(); zero it before, but for the first part.
struct rabbitmq_stream {
	struct adapter *adapter;
	struct rabbitmq_link *link;
	const char *name;    // of the stream
	uint32_t partitions; // of the topic
	// Where to begin: at an offset (of those that are gone: the oldest that is kept), or with
	// what was stored at a time or later.
	bool by_time;
	int64_t time_ms;
	uint64_t offset;
	uint64_t quiet_ns;    // with nothing more in so long the end is reached
	uint64_t deadline_ns; // monotonic
	void (*message)(struct rabbitmq_stream *stream,
			const struct rabbitmq_stream_message *message);
	// The last call, once: OK behind rabbitmq_stream_end() and at the end; TIMEOUT at the
	// deadline; NOT_FOUND: there is no such stream; else why the channel ended.
	void (*done)(struct rabbitmq_stream *stream, enum code code, const char *text);
	// stream.c's.
	struct rabbitmq_channel channel;
	struct loop_timer timer;
	struct rabbitmq_arriving arriving;
	uint64_t arriving_offset, heard_ns, tag, acked;
	uint64_t left; // bytes of the body
	bool reading, holds, ending;
	uint8_t part; // what of a message is arriving
	enum code code;
};

void rabbitmq_stream_begin(struct rabbitmq_stream *stream);
// Enough: no message comes any more, and done(). Also from message().
void rabbitmq_stream_end(struct rabbitmq_stream *stream, enum code code);
// While it is held no more than what is on its way comes.
void rabbitmq_stream_hold(struct rabbitmq_stream *stream, bool hold);
