// One connection of a client, from accept to close, on one loop; whatever protocol it speaks.
//
// Its life is the table CONN_STATES. conn_close() is the only way to the last state; the memory
// goes at the end of the round, so code that called something which may close looks at the state
// and returns.
#pragma once

#include "core/base/log.h"
#include "core/base/peer_shares.h"
#include "core/base/state_table.h"
#include "core/net/framer.h"
#include "core/net/outq.h"
#include "core/net/transport.h"
#include "proxy/base/worker.h"
#include "proxy/client/memory.h"
#include "proxy/client/session.h"
#include "proxy/engine/fair.h"

struct balancer_head;
struct conn;

enum conn_state {
	CONN_NEW,     // plain or TLS is not known yet
	CONN_OPENING, // its protocol authenticates it
	CONN_READY,
	CONN_LEAVING, // one side has said that it goes; closed when nothing is in flight
	CONN_CLOSED
};

#define CONN_STATES(X)                                                                             \
	X(CONN_NEW, "first bytes", CONN_OPENING,                                                   \
	  "The client's first bytes are TLS or its protocol.")                                     \
	X(CONN_NEW, "ends", CONN_CLOSED,                                                           \
	  "It sends another protocol, is lost or late, or makes room for a newcomer.")             \
	X(CONN_OPENING, "admitted", CONN_READY,                                                    \
	  "The client has proved its key, and its tenant has room for the connection.")            \
	X(CONN_OPENING, "ends", CONN_CLOSED,                                                       \
	  "It is refused, breaks the protocol, is lost or late, or makes room for a newcomer.")    \
	X(CONN_READY, "leaves", CONN_LEAVING,                                                      \
	  "The client or the proxy has said that it goes: nothing new is begun.")                  \
	X(CONN_READY, "ends", CONN_CLOSED,                                                         \
	  "It is lost, breaks the protocol, stalls, or may not be used any more.")                 \
	X(CONN_LEAVING, "all is answered", CONN_CLOSED,                                            \
	  "Nothing of it is in flight, unsettled or unwritten.")                                   \
	X(CONN_LEAVING, "ends", CONN_CLOSED,                                                       \
	  "It ends before that, for any reason for which a ready one ends.")

// What it is used for: a topic that it sends to, or a group that it consumes from.
typedef void (*conn_use_fn)(void *ctx, bool consumes, const char *name);

// A protocol that connections speak. All of it is called on the connection's loop. What may close
// says so.
struct conn_ops {
	// Makes its state, conn->protocol. -ENOMEM
	int (*begin)(struct conn *conn);
	// The connection closes: nothing of it is answered any more.
	void (*detach)(struct conn *conn);
	void (*free)(struct conn *conn); // its state

	// Input: one buffer of what is read and not taken.
	ssize_t (*fill)(struct conn *conn); // reads once: bytes; 0: the end; as transport_read()
	// Takes what is whole while conn_may_take(), each piece with conn_taken(). May close.
	void (*take)(struct conn *conn);
	// After a read. True: it left room, so that a plain socket has nothing left for now; memory
	// that is not needed is given back.
	bool (*rest)(struct conn *conn);
	bool (*has_begun)(const struct conn *conn);   // a piece has begun and is not whole
	size_t (*held)(const struct conn *conn);      // bytes of memory
	size_t (*have)(const struct conn *conn);      // bytes read and not taken
	size_t (*front)(const struct conn *conn);     // what the piece at the front needs in all
	size_t (*next_read)(const struct conn *conn); // bytes that the next read would have to make
	void (*shrink)(struct conn *conn);            // memory is short

	// What the client is told. Each may close.
	void (*tell_end)(struct conn *conn, enum code code, const char *text);
	void (*tell_leaving)(struct conn *conn, enum code code, uint32_t deadline_ms);
	void (*tell_window)(struct conn *conn); // session.granted has grown
	void (*tell_throttled)(struct conn *conn, enum quota_direction direction,
			       const struct quota_answer *why);
	void (*ping)(struct conn *conn); // to hear whether it is there

	void (*stop)(struct conn *conn);           // nothing more is to be delivered to it
	bool (*is_done)(const struct conn *conn);  // nothing of it waits for an answer but batches
	void (*output_left)(struct conn *conn);    // there is room for deliveries again. May close
	void (*key_changed)(struct conn *conn);    // grants are to be looked at again. May close
	void (*limits_changed)(struct conn *conn); // of its tenant. May close
	void (*each_use)(const struct conn *conn, conn_use_fn fn, void *ctx);
};

struct conn {
	const struct conn_ops *ops;
	void *protocol; // of ops
	struct worker *worker;
	struct transport transport;
	struct outq out;
	struct loop_io io;
	struct loop_timer timer;
	struct loop_task flush;
	struct list all;           // member of clients->conns
	struct fair_item run_item; // its place in the worker's run queue
	struct map_node node;      // member of clients->sessions, by session id

	struct peer_share peer_share;   // of clients->peer_shares, until READY
	struct balancer_head *balancer; // its header is awaited
	struct session session;
	char peer[56]; // "address:port"

	uint32_t takes_left; // pieces that it may take in this run
	uint64_t connected_ns, last_read_ns,
		written_ns; // written: last progress, or the output was empty
	int64_t connected_ms;
	struct conn_memory memory;            // client/memory.c
	uint8_t state;                        // enum conn_state; conn_set_state() changes it
	bool flush_due, pinged, tls, blocked; // blocked: not read because its replies are not read
	bool last_words;  // nothing more is written; it is closed for end_text when last_left is
			  // read
	size_t last_left; // bytes
	bool ended_by_us; // with CLOSED: not by the peer's or the network's doing
	bool ending;      // conn_close() is at work: no memory for its last words ends nothing else
	enum code end_code;
	const char *end_text;
};

// Takes over the descriptor in any case.
int conn_new(struct worker *worker, const struct conn_ops *ops, int fd,
	     const struct sockaddr *peer);
// Gives a connection that is not authenticated up for a newcomer from `peer`. False: it is the
// newcomer that has most of them.
bool conn_give_way(struct worker *worker, const struct sockaddr *peer);

// Says why, as far as the socket takes it at once, gives back what it holds and ends it. CODE_OK:
// without a word. `text` may be NULL.
void conn_close(struct conn *conn, enum code code, const char *text);
void conn_close_no_memory(struct conn *conn); // no memory for what has to be said

// Output. All that a round gathers in conn->out is written at its end; each writer to it says so.
void conn_output_added(struct conn *conn);
void conn_send_buf(struct conn *conn, struct buf *buf, const uint8_t *data, size_t size);
// Tells about the quota, at most once a second and direction.
void conn_tell_throttled(struct conn *conn, enum quota_direction direction,
			 const struct quota_answer *why);

size_t conn_work(struct fair_item *item, size_t most, bool *ret_again); // its run
void conn_read_again(struct conn *conn); // it need not wait for memory any more
void conn_ready(struct conn *conn);      // it is authenticated
// Only inside of conn.c. A transition that CONN_STATES does not have is a fault of ours.
void conn_set_state(struct conn *conn, enum conn_state state);
void conn_leave(struct conn *conn); // the client has said that it goes

void conn_goaway(struct conn *conn, enum code code, uint32_t deadline_ms);
// Closes a leaving connection once nothing of it is unanswered or unsettled.
void conn_check_left(struct conn *conn);
// The access key was changed or deleted: closes, or looks at the grants again.
void conn_recheck(struct conn *conn);

static inline bool conn_is_open(const struct conn *conn)
{
	return conn->state != CONN_CLOSED;
}

// Not read for now: its replies are not read, or it waits for memory.
static inline bool conn_is_held(const struct conn *conn)
{
	return conn->blocked || conn->memory.waits;
}

static inline bool conn_may_take(const struct conn *conn)
{
	return conn->state != CONN_CLOSED && !conn_is_held(conn) && conn->takes_left;
}

static inline void conn_taken(struct conn *conn)
{
	--conn->takes_left;
}

static inline struct log_ctx conn_log(const struct conn *conn)
{
	const struct tenant_view *tenant = conn->session.tenant;

	return (struct log_ctx){.tenant = tenant && tenant->model ? tenant->model->name : NULL,
				.peer = conn->peer,
				.conn = conn->node.key};
}
