// A stream of a connection: a topic to send to, or a subscription.
#pragma once

#include "proxy/client/conn.h"
#include "proxy/client/sender_turn.h"
#include "proxy/resource/topic.h"

enum stream_kind { STREAM_TOPIC, STREAM_SUBSCRIPTION };

enum stream_state {
	STREAM_OPEN,
	STREAM_CLOSING, // CLOSED follows when everything of it is answered
	STREAM_ENDED,   // CLOSED was sent unasked: what still comes is ignored until CLOSE
};

// First member of both kinds.
struct stream {
	struct map_node node; // member of native->streams, by stream id
	struct conn *conn;
	uint8_t kind;     // enum stream_kind
	uint8_t state;    // enum stream_state
	bool asked;       // the client has sent CLOSE
	uint16_t code;    // of CLOSED, enum code
	const char *text; // of CLOSED, static; NULL: none
};

struct topic_stream {
	struct stream stream;
	struct topic_user user; // of its topic
	uint32_t unanswered;    // batches that the client has sent on it
	struct sender_turn quota_turn;
	uint32_t max_record;
	uint32_t next_partition; // partition of the next batch's records that have no key
};

static inline uint32_t stream_id(const struct stream *stream)
{
	return (uint32_t)stream->node.key;
}

// Frames of an authenticated connection that concern a stream.
void stream_frame(struct conn *conn, const struct frame *frame);
int stream_add(struct stream *stream, struct conn *conn, enum stream_kind kind,
	       uint32_t id);             // -ENOMEM
void stream_free(struct stream *stream); // without a frame
void stream_end(struct stream *stream, enum code code,
		const char *text);                 // with a CLOSED the client has not asked for
void stream_closed(struct stream *stream);         // everything of a closing one is answered
void stream_answered(struct topic_stream *stream); // one batch of it is
void stream_free_all(struct conn *conn);
void stream_stop_all(struct conn *conn); // nothing more is to be delivered
void stream_each_use(const struct conn *conn, conn_use_fn fn, void *ctx); // of open ones
// Ends the streams that the key of the connection does not allow any more.
void stream_recheck_all(struct conn *conn);
// What the topics of a connection take at most follows tenant and topic.
void stream_limits_changed(struct conn *conn);
