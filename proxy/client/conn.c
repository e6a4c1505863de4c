// A connection: reading, writing, deadlines, and one function that closes it. The meaning of what
// is read is known to its protocol alone (struct conn_ops).
//
// Reading happens in runs of bounded size (the run queue, fair.h); writing once a round. The
// connection stops being read while more than limits.output bytes of replies wait for it, so the
// replies held for one client are bounded.
//
// What a peer has sent (settles, begun messages) counts even if the peer has died since or does not
// read. So a connection that cannot be written any more is first read to its end.

#include "proxy/client/conn.h"

#include "core/base/clock.h"
#include "proxy/client/balancer.h"
#include "proxy/client/clients.h"
#include "proxy/client/socket_address.h"
#include "proxy/client/tenant_clients.h"
#include "proxy/resource/shared.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define LINGER_READ   65536
#define TAKES_AT_ONCE 512u // in a run: small pieces cost more than their bytes
#define LAST_WORDS_NS S_NS // for reading what has come already

static void on_io(struct loop_io *io, unsigned events);
static void on_timer(struct loop_timer *timer);
static void on_flush(struct loop_task *task);

void conn_set_state(struct conn *conn, enum conn_state state)
{
	assert(state_table_has(STATE_TABLE_MOVES(CONN_STATES), conn->state, state));
	conn->state = (uint8_t)state;
}

static struct fair_queue *queue_of(const struct conn *conn)
{
	return conn->session.tenant ? &conn->session.tenant->clients->queue
				    : &conn->worker->clients->unauthenticated;
}

bool conn_give_way(struct worker *worker, const struct sockaddr *peer)
{
	struct peer_share *victim;
	uint8_t address[16];

	peer_shares_address(peer, address);
	victim = peer_shares_victim(&worker->clients->peer_shares, address);
	if (victim)
		conn_close(CONTAINER_OF(victim, struct conn, peer_share), CODE_OVERLOADED,
			   "too many connections that are not authenticated");
	return victim;
}

int conn_new(struct worker *worker, const struct conn_ops *ops, int fd, const struct sockaddr *peer)
{
	struct conn *conn = calloc(1, sizeof *conn);
	uint8_t address[16];
	int r;

	if (!conn) {
		close(fd);
		return -ENOMEM;
	}
	conn->worker = worker;
	conn->ops = ops;
	r = loop_io_init(&conn->io, worker->loop, fd, on_io);
	if (r == 0)
		r = ops->begin(conn);
	if (r == 0)
		r = balancer_begin(conn, peer);
	if (r == 0)
		r = loop_io_want(&conn->io, LOOP_READ);
	conn->node.key = ++worker->clients->session_count * WORKER_MAX + worker->index;
	if (r == 0)
		r = map_put(&worker->clients->sessions, &conn->node);
	if (r < 0) {
		loop_io_deinit(&conn->io);
		close(fd);
		balancer_free(conn->balancer);
		ops->free(conn);
		free(conn);
		return r;
	}
	transport_init(&conn->transport, fd);
	outq_init(&conn->out);
	loop_timer_init(&conn->timer, worker->loop, on_timer);
	conn->flush.fn = on_flush;
	session_init(&conn->session);
	memory_init(conn);
	fair_item_init(&conn->run_item);
	socket_address_text(peer, conn->peer);
	conn->connected_ns = loop_now_ns(worker->loop);
	conn->connected_ms = clock_wall_ms();
	conn->last_read_ns = conn->connected_ns;
	conn->written_ns = conn->connected_ns;
	list_push_back(&worker->clients->conns, &conn->all);
	peer_shares_address(peer, address);
	peer_share_init(&conn->peer_share);
	peer_shares_enter(&worker->clients->peer_shares, &conn->peer_share, address);
	loop_timer_set(&conn->timer, conn->connected_ns + worker->limits.ready_ms * MS_NS);
	return 0;
}

// ---- the way out

// The reason goes out if the socket takes it; unread input would make close() reset the connection
// and lose it.
static void say_goodbye(struct conn *conn, enum code code, const char *text)
{
	uint8_t rest[4096];
	size_t read = 0;
	ssize_t n;

	if (code != CODE_OK && conn->state > CONN_NEW)
		conn->ops->tell_end(conn, code, text);
	if (outq_flush(&conn->out, &conn->transport) < 0)
		return;
	shutdown(conn->transport.fd, SHUT_WR);
	while (read < LINGER_READ &&
	       (n = recv(conn->transport.fd, rest, sizeof rest, MSG_DONTWAIT)) > 0)
		read += (size_t)n;
}

// By the peer's doing, or the network's.
static bool is_lost(enum code code)
{
	return code == CODE_OK || code == CODE_PROTOCOL || code == CODE_CORRUPT ||
	       code == CODE_TIMEOUT;
}

void conn_close(struct conn *conn, enum code code, const char *text)
{
	struct worker *worker = conn->worker;

	if (conn->state == CONN_CLOSED || conn->ending)
		return;
	conn->ending = true;
	if (conn->state < CONN_READY)
		refusals_ended(conn, code, text);
	else
		session_lines_closed(conn, code, text);
	conn->ended_by_us |= !is_lost(code);
	conn->ops->detach(conn);
	fair_remove(queue_of(conn), &conn->run_item);
	if (!conn->flush_due) {
		conn->flush_due = true; // nothing is deferred from here on
		say_goodbye(conn, code, text);
		conn->flush_due = false;
	} else {
		say_goodbye(conn, code, text);
	}
	conn_set_state(conn, CONN_CLOSED);
	peer_shares_leave(&worker->clients->peer_shares, &conn->peer_share);
	session_deinit(&conn->session);
	list_unlink(&conn->all);
	map_remove(&worker->clients->sessions, &conn->node);
	loop_timer_cancel(&conn->timer);
	loop_io_deinit(&conn->io);
	balancer_free(conn->balancer);
	conn->balancer = NULL;
	memory_release(conn);
	outq_deinit(&conn->out);
	conn->ops->free(conn);
	transport_deinit(&conn->transport);
	if (!conn->flush_due)
		loop_free_later(worker->loop, conn, free); // else the deferred task does
	worker_check_drained(worker);
}

// ---- writing

static void flush_later(struct conn *conn)
{
	if (conn->flush_due)
		return;
	conn->flush_due = true;
	loop_defer(conn->worker->loop, &conn->flush);
}

// What the descriptor is watched for.
static void watch_descriptor(struct conn *conn)
{
	unsigned events = 0;

	if (!conn_is_held(conn))
		events |= conn->transport.want_read;
	if (conn->out.bytes)
		events |= conn->transport.want_write;
	_Static_assert(TRANSPORT_READ == (int)LOOP_READ && TRANSPORT_WRITE == (int)LOOP_WRITE,
		       "the same bits");
	if (loop_io_want(&conn->io, events) < 0)
		conn_close(conn, CODE_INTERNAL, "the descriptor cannot be watched");
}

static void output_left(struct conn *conn)
{
	const struct proxy_limits *limits = &conn->worker->limits;

	if (conn->blocked && conn->out.bytes <= memory_output_most(conn) / 2) {
		conn->blocked = false;
		conn_read_again(conn);
	}
	if (!list_empty(&conn->session.output_blocked) && conn->out.bytes < limits->output / 4)
		conn->ops->output_left(conn);
}

// It is not written any more. What has come from it by now is read, then it is closed.
static void end_after_reading(struct conn *conn, enum code code, const char *text)
{
	int received;

	if (conn->state < CONN_READY || conn->last_words) {
		conn_close(conn, code, text);
		return;
	}
	if (ioctl(conn->transport.fd, FIONREAD, &received) < 0)
		received = 0;
	conn->last_words = true;
	conn->last_left = (size_t)received;
	conn->end_code = code;
	conn->end_text = text;
	outq_deinit(&conn->out);
	memory_count_output(conn);
	conn->blocked = false;
	loop_timer_set(&conn->timer, loop_now_ns(conn->worker->loop) + LAST_WORDS_NS);
	clients_enqueue(conn->worker->clients, queue_of(conn), &conn->run_item);
}

static void on_flush(struct loop_task *task)
{
	struct conn *conn = CONTAINER_OF(task, struct conn, flush);
	uint64_t now_ns = loop_now_ns(conn->worker->loop);
	size_t before = conn->out.bytes;
	int r;

	conn->flush_due = false;
	if (conn->state == CONN_CLOSED) {
		loop_free_later(conn->worker->loop, conn, free);
		return;
	}
	r = outq_flush(&conn->out, &conn->transport);
	if (r < 0 && r != -EAGAIN) {
		end_after_reading(conn, CODE_OK, "the peer is gone");
		return;
	}
	if (conn->out.bytes < before || r == 0)
		conn->written_ns = now_ns;
	memory_count_output(conn);
	if (r < 0 && conn->timer.at_ns > conn->written_ns + conn->worker->limits.stalled_ms * MS_NS)
		loop_timer_set(&conn->timer,
			       conn->written_ns + conn->worker->limits.stalled_ms * MS_NS);
	output_left(conn);
	watch_descriptor(conn);
	if (conn->state == CONN_LEAVING)
		conn_check_left(conn);
}

void conn_close_no_memory(struct conn *conn)
{
	if (conn->state == CONN_CLOSED)
		return;
	conn->ended_by_us = true;
	conn_close(conn, CODE_OK, "out of memory");
}

void conn_output_added(struct conn *conn)
{
	if (conn->last_words)
		outq_deinit(&conn->out);
	memory_count_output(conn);
	if (conn->last_words)
		return;
	if (conn->out.bytes > memory_output_most(conn))
		conn->blocked = true;
	flush_later(conn);
}

void conn_send_buf(struct conn *conn, struct buf *buf, const uint8_t *data, size_t size)
{
	if (outq_add(&conn->out, buf, data, size) < 0)
		conn_close_no_memory(conn);
	else
		conn_output_added(conn);
}

void conn_tell_throttled(struct conn *conn, enum quota_direction direction,
			 const struct quota_answer *why)
{
	if (session_throttle_due(&conn->session, direction, loop_now_ns(conn->worker->loop)))
		conn->ops->tell_throttled(conn, direction, why);
}

// ---- reading

static bool find_kind(struct conn *conn)
{
	enum transport_kind kind;
	const char *problem;
	int r = balancer_read(conn, &problem);

	if (r < 0 && r != -EAGAIN)
		conn_close(conn, CODE_OK, problem);
	if (r < 0)
		return false;
	r = transport_peek(conn->transport.fd, &kind);
	if (r == -EAGAIN)
		return false;
	if (r == 0 && kind == TRANSPORT_TLS && conn->worker->clients->tls) {
		r = transport_accept_tls(&conn->transport, conn->worker->clients->tls);
		conn->tls = true;
	} else if (r == 0 && kind != TRANSPORT_NATIVE) {
		r = -EPROTO;
	}
	if (r < 0) {
		conn_close(conn, CODE_OK,
			   r == -EPROTO ? "another protocol, or TLS without a certificate"
					: "ended before its first byte");
		return false;
	}
	conn_set_state(conn, CONN_OPENING);
	return true;
}

static void read_failed(struct conn *conn, ssize_t r)
{
	char room[256];

	if (r == 0)
		conn_close(conn, CODE_OK,
			   conn->ops->has_begun(conn) ? "the peer ended inside a frame"
						      : "the peer has ended");
	else if (r == -EPROTO)
		conn_close(conn, CODE_OK, transport_problem(&conn->transport, room, sizeof room));
	else
		conn_close(conn, CODE_OK, strerror((int)-r));
}

// The last read left room: reading again would only be answered EAGAIN. TLS may still hold bytes of
// its own, and what is held back while the connection is blocked must stay.
static bool is_dry(struct conn *conn)
{
	return !conn->transport.ssl && !conn_is_held(conn) && conn->ops->rest(conn);
}

size_t conn_work(struct fair_item *item, size_t most, bool *ret_again)
{
	struct conn *conn = CONTAINER_OF(item, struct conn, run_item);
	const struct conn_ops *ops = conn->ops;
	size_t done = 0;
	ssize_t r = 0;

	if (conn->state == CONN_NEW && !find_kind(conn))
		return 0;
	conn->takes_left = TAKES_AT_ONCE;
	ops->take(conn); // what was left when it was blocked, or by the run before
	while (done < most && conn_may_take(conn) && memory_may_read(conn)) {
		r = ops->fill(conn);
		if (r <= 0)
			break;
		done += (size_t)r;
		conn->last_read_ns = loop_now_ns(conn->worker->loop);
		conn->pinged = false;
		ops->take(conn);
		if (conn->state != CONN_CLOSED && conn->takes_left && is_dry(conn))
			break;
	}
	if (conn->state == CONN_CLOSED)
		return done;
	memory_has_read(conn);
	conn->last_left -= conn->last_words ? MIN(done, conn->last_left) : 0;
	if (conn->takes_left == 0) {
		watch_descriptor(conn);
		*ret_again = conn->state != CONN_CLOSED && !conn_is_held(conn);
		return MAX(done, most); // a whole run
	}
	if (conn->last_words && !conn->memory.waits && (done < most || conn->last_left == 0)) {
		conn_close(conn, conn->end_code, conn->end_text);
		return done;
	}
	if (r <= 0 && r != -EAGAIN && !conn_is_held(conn) && done < most)
		read_failed(conn, r);
	else
		watch_descriptor(conn);
	*ret_again = conn->state != CONN_CLOSED && !conn_is_held(conn) && done >= most;
	return done;
}

static void on_io(struct loop_io *io, unsigned events)
{
	struct conn *conn = CONTAINER_OF(io, struct conn, io);

	if (conn->out.bytes)
		flush_later(conn);
	if (!conn_is_held(conn))
		clients_enqueue(conn->worker->clients, queue_of(conn), &conn->run_item);
}

void conn_read_again(struct conn *conn)
{
	if (!conn_is_held(conn))
		clients_enqueue(conn->worker->clients, queue_of(conn), &conn->run_item);
}

// ---- deadlines

// When to look again whether a key has expired: at its time, and every second before it, because
// the wall clock may be set.
static uint64_t expiry_look_ns(const struct access_key *key)
{
	int64_t left_ms;

	if (!key->expires_ms)
		return UINT64_MAX / 2;
	left_ms = key->expires_ms - clock_wall_ms();
	return left_ms > 0 && left_ms < 1000 ? (uint64_t)left_ms * MS_NS : S_NS;
}

static void on_timer(struct loop_timer *timer)
{
	struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
	const struct proxy_limits *limits = &conn->worker->limits;
	uint64_t now_ns = loop_now_ns(conn->worker->loop), next_ns;
	uint64_t keepalive_ns = limits->keepalive_ms * MS_NS,
		 stalled_ns = limits->stalled_ms * MS_NS;

	if (conn->state < CONN_READY) {
		conn_close(conn, CODE_TIMEOUT, "not authenticated in time");
		return;
	}
	if (conn->last_words) {
		conn_close(conn, conn->end_code, conn->end_text);
		return;
	}
	if (conn->memory.waits)
		conn->last_read_ns =
			now_ns; // the proxy does not read, so silence is no fault of the peer
	if (!session_key_usable(conn->session.key)) {
		conn_close(conn, CODE_UNAUTHENTICATED, "the access key has expired");
		return;
	}
	if (now_ns >= conn->last_read_ns + 2 * keepalive_ns ||
	    (conn->out.bytes && now_ns >= conn->written_ns + stalled_ns)) {
		if (conn->blocked)
			end_after_reading(conn, CODE_TIMEOUT, "the peer does not read");
		else
			conn_close(conn, CODE_TIMEOUT, "the peer does not answer");
		return;
	}
	if (now_ns >= conn->last_read_ns + keepalive_ns && !conn->pinged) {
		conn->pinged = true;
		conn->ops->ping(conn);
	}
	next_ns = conn->last_read_ns + (conn->pinged ? 2 : 1) * keepalive_ns;
	if (conn->out.bytes)
		next_ns = MIN(next_ns, conn->written_ns + stalled_ns);
	next_ns = MIN(next_ns, now_ns + expiry_look_ns(conn->session.key));
	if (conn_is_open(conn))
		loop_timer_set(&conn->timer, next_ns);
}

void conn_ready(struct conn *conn)
{
	conn_set_state(conn, CONN_READY);
	loop_timer_set(&conn->timer, loop_now_ns(conn->worker->loop) + 1);
}

// ---- leaving

void conn_leave(struct conn *conn)
{
	if (conn->state != CONN_READY)
		return;
	conn_set_state(conn, CONN_LEAVING);
	conn->ops->stop(conn);
	conn_check_left(conn);
}

void conn_goaway(struct conn *conn, enum code code, uint32_t deadline_ms)
{
	if (conn->state < CONN_READY) {
		conn_close(conn, code, "the proxy is leaving");
		return;
	}
	conn->ops->tell_leaving(conn, code, deadline_ms);
	if (conn_is_open(conn))
		conn_leave(conn);
}

void conn_check_left(struct conn *conn)
{
	if (conn->state == CONN_LEAVING && list_empty(&conn->session.batches) &&
	    conn->session.unstopped == 0 && conn->out.bytes == 0 && conn->ops->is_done(conn))
		conn_close(conn, CODE_OK, "left in order");
}

void conn_recheck(struct conn *conn)
{
	if (!conn->session.key)
		return;
	if (!session_renew_key(&conn->session, conn->worker->shared->catalog)) {
		conn_close(conn, CODE_UNAUTHENTICATED, "the access key was revoked");
		return;
	}
	if (!conn->last_words) // then the timer is its end, and what has come is read before
		loop_timer_set(&conn->timer,
			       loop_now_ns(conn->worker->loop) + 1); // may expire sooner
	if (!session_address_allowed(&conn->session, conn->peer))
		conn_close(conn, CODE_FORBIDDEN, "the access key may not connect from here");
	else
		conn->ops->key_changed(conn);
}
