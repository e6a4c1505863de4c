// One connection to a proxy: handshake, frames in and out, streams, the produce window.
//
// Everything here is for the client's I/O thread. A link reports to its client (client.h) and to
// its streams' operations; after link_close nothing more is reported.
#pragma once

#include "core/base/buf.h"
#include "core/base/list.h"
#include "sdk/c/include/mqpaas/mqpaas.h"
#include "sdk/c/src/address.h"

#include <stdbool.h>

struct fields;
struct frame;
struct link;
struct stream;
struct mqp_client;

// What happens to a stream. `payload` lies in `buf` and is valid during the call unless a reference
// to buf is taken.
struct stream_ops {
	void (*opened)(struct stream *stream, const uint8_t *fields, size_t size);
	// The stream is not open (any more): refused, closed by the proxy, or its link has ended
	// (MQP_CONNECTION_LOST). It is unlinked from the link before the call.
	void (*ended)(struct stream *stream, enum mqp_code code, uint32_t retry_after_ms);
	// Any other frame. Negative: the peer broke the protocol; the link ends.
	int (*frame)(struct stream *stream, unsigned type, struct buf *buf, const uint8_t *payload,
		     size_t size);
	// The proxy tells how many messages may be sent, and after how long; NULL: not of interest.
	void (*turn)(struct stream *stream, uint64_t messages, uint32_t after_ms);
	// The proxy leaves: finish what is in flight here and go elsewhere.
	void (*leaving)(struct stream *stream);
	// Everything that was sent before the last link_mark is in the socket. NULL: never marked.
	void (*written)(struct stream *stream);
};

struct stream {
	struct list node;   // of the link's streams
	struct list marked; // of the link's marked streams
	uint64_t mark;      // bytes of output that are to be in the socket first
	struct link *link;  // NULL: not on a link
	const struct stream_ops *ops;
	uint32_t id;
	bool open; // TOPIC_OPENED or SUBSCRIBED has come
};

int link_new(struct mqp_client *client, const struct address *address, struct link **ret);
void link_free(struct link *link); // closed before

void link_event(struct link *link, unsigned events);
void link_flush(struct link *link);                 // writes what was gathered
void link_tick(struct link *link, uint64_t now_ns); // connect timeout, keepalive
uint64_t link_next_ns(const struct link *link);
// Ends the link; streams are told MQP_CONNECTION_LOST. `code`: why, for log and status.
void link_close(struct link *link, enum mqp_code code, const char *why);
// Ends the link at the next flush: a frame could not be made for want of memory.
void link_break(struct link *link);
// As if GOAWAY had come: streams are told to leave, the link ends when none is left on it.
void link_leave(struct link *link);

const struct address *link_address(const struct link *link);
bool link_ready(const struct link *link);     // authenticated and not leaving
bool link_leaving(const struct link *link);   // GOAWAY has come
bool link_ended(const struct link *link);     // closed; may be freed
struct link *link_of(struct list *node);      // of client->links
bool link_throttled(const struct link *link); // the proxy withholds window because of the quota
size_t link_output_bytes(const struct link *link);
uint32_t link_max_frame(const struct link *link);
bool link_has_begun(const struct link *link); // the feature BEGUN is in use
bool link_has_codec(const struct link *link, enum mqp_compression compression);

// Sends OPEN_TOPIC or SUBSCRIBE with one text field; the stream gets its id, which no stream of
// this link had before. -ENOMEM: the link ends at the next flush; -EAGAIN: it has no more ids and
// leaves.
int link_open(struct link *link, struct stream *stream, unsigned type, unsigned tag,
	      const char *name);
void link_leave_stream(struct stream *stream); // CLOSE is sent; nothing more is reported to it

// The beginning of a buffer, and its CRC-32C.
struct payload {
	struct buf *buf;
	size_t size;
	uint32_t crc;
};

// Queues a frame to be written by link_flush. link_send copies the payload; link_send_buf takes a
// reference to its buffer. -ENOMEM: the link ends at the next flush.
int link_send(struct link *link, unsigned type, uint32_t stream, const void *payload, size_t size);
int link_send_buf(struct link *link, unsigned type, unsigned flags, uint32_t stream,
		  const struct payload *payload);

// Asks for stream_ops.written when all that was sent by now is in the socket.
void link_mark(struct stream *stream);

// Bytes of PRODUCE frames, headers included, that the proxy takes now.
uint64_t link_window(const struct link *link);
void link_window_use(struct link *link, uint64_t bytes);

// ---- for handshake.c

void link_watch(struct link *link);
// ERROR on stream 0 in any state.
void link_error_frame(struct link *link, const struct frame *frame);
void link_tell_addresses(struct link *link, const struct fields *fields);
