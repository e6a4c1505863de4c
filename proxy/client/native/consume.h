// A stream that consumes: SUBSCRIBE, CREDIT, DELIVER, SETTLE.
#pragma once

#include "proxy/client/native/stream.h"
#include "proxy/client/subscription.h"

struct consume_stream {
	struct stream stream;
	struct subscription subscription;
};

// SUBSCRIBE to a group that has been looked up and is allowed.
void consume_open(struct conn *conn, uint32_t id, const struct group *group);
void consume_free(struct consume_stream *consumer); // the stream part is undone already
// Gives everything back; stream_closed() when its settles are answered.
void consume_close(struct consume_stream *consumer);
void consume_credit(struct consume_stream *consumer, const struct frame *frame);
// NULL: it is not open any more, everything is STALE.
void consume_settle(struct conn *conn, struct consume_stream *consumer, const struct frame *frame);
