// The native protocol's struct conn_ops: cuts the bytes of a connection into frames, and turns its
// events into frames. What frames mean is in handshake.c (before READY) and stream.c.

#include "proxy/client/native/native.h"

#include "core/wire/fields.h"
#include "proxy/client/batch.h"
#include "proxy/client/native/handshake.h"
#include "proxy/client/native/send.h"
#include "proxy/client/native/stream.h"
#include "proxy/client/subscription.h"

#include <errno.h>

// ---- life

static int native_begin(struct conn *conn)
{
	struct native *native = calloc(1, sizeof *native);

	if (!native)
		return -ENOMEM;
	framer_init(&native->framer, WIRE_BY_CLIENT, WIRE_EARLY_MAX);
	conn->protocol = native;
	return 0;
}

static void native_detach(struct conn *conn)
{
	stream_free_all(conn);
	batch_detach_all(conn);
}

static void native_free(struct conn *conn)
{
	struct native *native = native_of(conn);

	if (!native)
		return;
	handshake_free(native->handshake);
	framer_deinit(&native->framer);
	free(native);
	conn->protocol = NULL;
}

// ---- input

static ssize_t native_fill(struct conn *conn)
{
	return framer_fill(&native_of(conn)->framer, &conn->transport);
}

static bool native_rest(struct conn *conn)
{
	struct framer *framer = &native_of(conn)->framer;

	if (!framer_has_room(framer))
		return false;
	framer_rest(framer);
	return true;
}

static bool native_has_begun(const struct conn *conn)
{
	return framer_partial(&native_of(conn)->framer);
}

static size_t native_held(const struct conn *conn)
{
	return framer_held(&native_of(conn)->framer);
}

static size_t native_have(const struct conn *conn)
{
	return framer_have(&native_of(conn)->framer);
}

static size_t native_front(const struct conn *conn)
{
	return framer_front(&native_of(conn)->framer);
}

static size_t native_next_read(const struct conn *conn)
{
	return framer_needs(&native_of(conn)->framer);
}

static void native_shrink(struct conn *conn)
{
	framer_shrink(&native_of(conn)->framer);
}

static void on_frame(struct conn *conn, const struct frame *frame)
{
	const struct frame_header *header = &frame->header;

	switch (header->type) {
	case FRAME_PING:
	case FRAME_PONG:
		if (conn->state < CONN_READY || frame->payload.size != 8)
			conn_close(conn, CODE_PROTOCOL, "unexpected PING or PONG");
		else if (header->type == FRAME_PING)
			native_send(conn, FRAME_PONG, 0, frame->payload.data, 8);
		return;
	case FRAME_GOAWAY:
		if (conn->state < CONN_READY)
			conn_close(conn, CODE_PROTOCOL, "GOAWAY before READY");
		else
			conn_leave(conn);
		return;
	case FRAME_HELLO:
	case FRAME_AUTH: handshake_frame(conn, frame); return;
	default:
		if (conn->state < CONN_READY)
			conn_close(conn, CODE_PROTOCOL, "not authenticated yet");
		else
			stream_frame(conn, frame);
	}
}

static bool take_preface(struct conn *conn)
{
	struct native *native = native_of(conn);
	const uint8_t *preface = framer_take(&native->framer, WIRE_PREFACE_SIZE);

	if (!preface)
		return false;
	if (memcmp(preface, frame_preface, WIRE_PREFACE_SIZE - 1) != 0) {
		conn_close(conn, CODE_OK, "not this protocol");
		return false;
	}
	if (preface[WIRE_PREFACE_SIZE - 1] != WIRE_VERSION) {
		conn_close(conn, CODE_PROTOCOL, "this server speaks version 1");
		return false;
	}
	native->state = NATIVE_HELLO;
	return true;
}

static void native_take(struct conn *conn)
{
	struct native *native = native_of(conn);
	const char *problem = NULL;
	struct frame frame;
	int r = 0;

	if (native->state == NATIVE_PREFACE && !take_preface(conn))
		return;
	while (conn_may_take(conn) &&
	       (r = framer_next(&native->framer, &frame, &problem)) == FRAMER_FRAME) {
		conn_taken(conn);
		on_frame(conn, &frame);
	}
	if (conn->state == CONN_CLOSED || conn_is_held(conn) || r == 0 || r == FRAMER_FRAME)
		return;
	conn_close(conn, r == FRAMER_E_CORRUPT ? CODE_CORRUPT : CODE_PROTOCOL, problem);
}

// ---- what the client is told

static void native_tell_end(struct conn *conn, enum code code, const char *text)
{
	native_send_error(conn, 0, code, text);
}

static void native_tell_leaving(struct conn *conn, enum code code, uint32_t deadline_ms)
{
	uint8_t room[256];
	struct field_writer fields;

	field_writer_init(&fields, room, sizeof room);
	field_put_int(&fields, FIELD_CODE, code);
	field_put_int(&fields, FIELD_DEADLINE_MS, deadline_ms);
	native_send(conn, FRAME_GOAWAY, 0, room, (uint32_t)fields.size);
}

static void native_tell_window(struct conn *conn)
{
	uint64_t wire = conn->session.granted;

	native_send(conn, FRAME_WINDOW, 0, &wire, sizeof wire);
}

static void native_tell_throttled(struct conn *conn, enum quota_direction direction,
				  const struct quota_answer *why)
{
	struct field_writer fields;
	uint8_t room[96];

	field_writer_init(&fields, room, sizeof room);
	field_put_int(&fields, FIELD_CODE, CODE_THROTTLED);
	field_put_int(&fields, FIELD_DIRECTION, direction);
	field_put_int(&fields, FIELD_UNIT, why->bytes);
	field_put_int(&fields, FIELD_LIMIT, why->limit);
	field_put_int(&fields, FIELD_REMAINING, why->remaining);
	field_put_int(&fields, FIELD_RETRY_AFTER_MS, (why->wait_ns + MS_NS - 1) / MS_NS);
	native_send(conn, FRAME_THROTTLE, 0, room, (uint32_t)fields.size);
}

static void native_ping(struct conn *conn)
{
	uint64_t ping = loop_now_ns(conn->worker->loop);

	native_send(conn, FRAME_PING, 0, &ping, sizeof ping);
}

// ---- the rest

static bool native_is_done(const struct conn *conn)
{
	return native_of(conn)->closing == 0;
}

static void native_limits_changed(struct conn *conn)
{
	stream_limits_changed(conn);
	if (conn_is_open(conn) && conn->state >= CONN_READY &&
	    session_window_raise(&conn->session, &conn->worker->limits))
		native_tell_window(conn);
}

const struct conn_ops native_conn_ops = {.begin = native_begin,
					 .detach = native_detach,
					 .free = native_free,
					 .fill = native_fill,
					 .take = native_take,
					 .rest = native_rest,
					 .has_begun = native_has_begun,
					 .held = native_held,
					 .have = native_have,
					 .front = native_front,
					 .next_read = native_next_read,
					 .shrink = native_shrink,
					 .tell_end = native_tell_end,
					 .tell_leaving = native_tell_leaving,
					 .tell_window = native_tell_window,
					 .tell_throttled = native_tell_throttled,
					 .ping = native_ping,
					 .stop = stream_stop_all,
					 .is_done = native_is_done,
					 .output_left = subscription_feed_all,
					 .key_changed = stream_recheck_all,
					 .limits_changed = native_limits_changed,
					 .each_use = stream_each_use};
