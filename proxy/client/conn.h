// One connection of a client, from accept to close, on one loop.
//
// Life: NEW (nothing read) → TLS handshake, if any → HELLO → AUTH → FINAL → READY → LEAVING →
// CLOSED. conn_close() is the only way to the last state; the memory goes at the end of the round,
// so code that called something which may close looks at the state and returns.
#pragma once

#include "core/base/log.h"
#include "core/base/sources.h"
#include "core/net/framer.h"
#include "core/net/transport.h"
#include "core/wire/fields.h"
#include "proxy/base/worker.h"
#include "proxy/client/memory.h"
#include "proxy/client/session.h"
#include "proxy/engine/fair.h"

struct auth;
struct balancer_head;

enum conn_state {
	CONN_NEW,     // plain or TLS is not known yet
	CONN_PREFACE, // its first 8 bytes are awaited
	CONN_HELLO,
	CONN_AUTH,  // the client's first SCRAM message is awaited
	CONN_FINAL, // its second
	CONN_READY,
	CONN_LEAVING, // one side has said GOAWAY; closed when nothing is in flight
	CONN_CLOSED
};

struct stream; // proxy/client/native/stream.h

struct conn {
	struct worker *worker;
	struct transport transport;
	struct framer framer;
	struct outq out;
	struct loop_io io;
	struct loop_timer timer;
	struct loop_task flush;
	struct list all;           // member of clients->conns
	struct fair_item run_item; // its place in the worker's run queue
	struct map_node node;      // member of clients->sessions, by session id

	struct auth *auth;              // until READY
	struct source_item source;      // of clients->sources, until then
	struct balancer_head *balancer; // its header is awaited
	struct session session;         // client/session.h
	char peer[56];                  // "address:port"

	struct map streams;   // struct stream by stream id
	uint32_t closing;     // streams whose CLOSED waits for answers
	uint32_t frames_left; // that it may take in this run
	uint32_t codecs;      // bits, agreed upon
	uint32_t features;    // bits, agreed upon
	uint64_t connected_ns, last_read_ns,
		written_ns; // written: last progress, or the output was empty
	int64_t connected_ms;
	struct conn_memory memory;            // proxy/client/memory.c
	uint8_t state;                        // enum conn_state
	bool flush_due, pinged, tls, blocked; // blocked: not read because its replies are not read
	bool last_words;  // nothing more is written; it is closed for end_text when last_left is
			  // read
	size_t last_left; // bytes
	bool ended_by_us; // with CLOSED: not by the peer's or the network's doing
	enum code end_code;
	const char *end_text;
};

// Takes over the descriptor in any case.
int conn_new(struct worker *worker, int fd, const struct sockaddr *peer);
// Gives a connection that is not authenticated up for a newcomer from `peer`. False: it is the
// newcomer that has most of them.
bool conn_give_way(struct worker *worker, const struct sockaddr *peer);

// Says why (ERROR on stream 0, as far as the socket takes it at once), gives back what it holds and
// ends it. CODE_OK: without ERROR. `text` may be NULL.
void conn_close(struct conn *conn, enum code code, const char *text);

// Frames to the client. All that a round gathers is written at its end. Out of memory closes.
uint8_t *conn_frame(struct conn *conn, uint32_t payload_size); // NULL: closed
void conn_frame_done(struct conn *conn, uint8_t *payload, enum frame_type type, uint32_t stream,
		     uint32_t payload_size);
void conn_send(struct conn *conn, enum frame_type type, uint32_t stream, const void *payload,
	       uint32_t size);
void conn_send_buf(struct conn *conn, struct buf *buf, const uint8_t *data, size_t size);
void conn_send_error(struct conn *conn, uint32_t stream, enum code code, const char *text);

size_t conn_work(struct fair_item *item, size_t most, bool *ret_again); // its run
void conn_read_again(struct conn *conn); // it need not wait for memory any more
void conn_ready(struct conn *conn);      // it is authenticated
void conn_leave(struct conn *conn);      // the client has said GOAWAY
// THROTTLE, at most one a second and direction.
void conn_send_throttle(struct conn *conn, enum quota_direction direction,
			const struct quota_answer *why);

void conn_goaway(struct conn *conn, enum code code, uint32_t deadline_ms);
// Closes a leaving connection once nothing of it is unanswered or unsettled.
void conn_check_left(struct conn *conn);
// The access key was changed or deleted: closes, or checks the open streams again.
void conn_recheck(struct conn *conn);

// Frames before READY: client/native/handshake.c.
void session_frame(struct conn *conn, const struct frame *frame);
void session_free(struct auth *auth);

static inline struct log_ctx conn_log(const struct conn *conn)
{
	const struct tenant_view *tenant = conn->session.tenant;

	return (struct log_ctx){.tenant = tenant && tenant->model ? tenant->model->name : NULL,
				.peer = conn->peer,
				.conn = conn->node.key};
}

static inline bool conn_is_open(const struct conn *conn)
{
	return conn->state != CONN_CLOSED;
}
