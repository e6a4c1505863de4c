// Reads and writes frames of one control link, and finds out that the other side has gone.
//
// Both sides send something once a second (the owners do, when `room` is called), so silence for
// SILENCE_NS means that the link is dead, also when no packet says so. The client's preface is the
// same as on clients' connections.
//
// Invariant: after `closed` nothing of the link is touched by the loop.

#include "core/control/link.h"

#include "core/base/clock.h"

#include <errno.h>
#include <stdio.h>

#define SILENCE_NS  (5 * S_NS)
#define ROOM_BYTES  (256u << 10)
#define FRAME_MAX   (LINK_SLICE_BYTES + 1024u)
#define JSON_LEVELS 8

static void stop_watching(struct link *link)
{
	loop_timer_cancel(&link->timer);
	loop_io_deinit(&link->io);
	transport_deinit(&link->transport);
	framer_deinit(&link->framer);
	outq_deinit(&link->outq);
}

void link_close(struct link *link, const char *why)
{
	char text[sizeof link->why];

	if (!link->open)
		return;
	link->open = false;
	snprintf(text, sizeof text, "%s", why);
	stop_watching(link);
	link->ops->closed(link, text);
}

static void update_wants(struct link *link)
{
	unsigned wants = link->transport.want_read;

	if (link->ready && link->outq.bytes)
		wants |= link->transport.want_write;
	if (loop_io_want(&link->io, wants) < 0)
		link_close(link, "out of memory");
}

static void close_for(struct link *link, ssize_t r)
{
	char why[160], room[128];

	if (r == 0)
		snprintf(why, sizeof why, "the other side has closed the connection");
	else if (r == -EPROTO)
		snprintf(why, sizeof why, "TLS: %s",
			 transport_problem(&link->transport, room, sizeof room));
	else
		snprintf(why, sizeof why, "%s", strerror((int)-r));
	link_close(link, why);
}

static void write_queued(struct link *link)
{
	int r = link->ready ? outq_flush(&link->outq, &link->transport) : -EAGAIN;

	if (r < 0 && r != -EAGAIN)
		close_for(link, r);
	else if (link->ending && !link->outq.bytes)
		link_close(link, link->why);
}

static bool take_preface(struct link *link)
{
	const uint8_t *at;

	if (link->preface)
		return true;
	at = framer_take(&link->framer, WIRE_PREFACE_SIZE);
	if (at && memcmp(at, frame_preface, WIRE_PREFACE_SIZE) != 0)
		link_close(link, "the other side does not speak this protocol");
	link->preface = at && link->open;
	return link->preface;
}

static void take_frames(struct link *link)
{
	const char *problem = "";
	struct frame frame;
	int r = 0;

	while (link->open && !link->ending && take_preface(link) &&
	       (r = framer_next(&link->framer, &frame, &problem)) == FRAMER_FRAME) {
		struct buf *held = buf_ref(frame.buf);

		link->ops->frame(link, frame.header.type, frame.payload);
		buf_unref(held);
	}
	if (link->open && r != 0 && r != FRAMER_FRAME)
		link_close(link, problem);
}

static void begin(struct link *link)
{
	link->ready = true;
	if (!link->server && outq_add_preface(&link->outq) < 0)
		link_close(link, "out of memory");
	else
		link->ops->established(link);
}

static void read_all(struct link *link)
{
	do {
		ssize_t got = framer_fill(&link->framer, &link->transport);

		if (!link->ready && transport_established(&link->transport))
			begin(link);
		if (!link->open)
			return;
		if (got <= 0 && got != -EAGAIN)
			close_for(link, got);
		if (got <= 0)
			return;
		link->heard_ns = clock_now_ns();
		take_frames(link);
	} while (link->open && transport_pending(&link->transport));
}

static void on_io(struct loop_io *io, unsigned events)
{
	struct link *link = CONTAINER_OF(io, struct link, io);

	read_all(link);
	if (link->open)
		write_queued(link);
	if (link->open && link->ready && !link->ending && link_has_room(link))
		link->ops->room(link);
	if (link->open)
		update_wants(link);
}

static void on_timer(struct loop_timer *timer)
{
	struct link *link = CONTAINER_OF(timer, struct link, timer);
	uint64_t now_ns = loop_now_ns(link->loop);

	if (link->ending)
		link_close(link, link->why);
	else if (now_ns > link->heard_ns + SILENCE_NS)
		link_close(link, "nothing was heard for 5 s");
	else if (link->ready && link_has_room(link))
		link->ops->room(link);
	if (!link->open)
		return;
	loop_timer_set(timer, now_ns + S_NS);
	update_wants(link);
}

int link_open(struct link *link, struct loop *loop, int fd, SSL_CTX *context, bool server,
	      const struct link_ops *ops)
{
	int r;

	*link = (struct link){.ops = ops,
			      .loop = loop,
			      .server = server,
			      .preface = !server,
			      .heard_ns = clock_now_ns()};
	transport_init(&link->transport, fd);
	framer_init(&link->framer, server ? WIRE_BY_FOLLOWER : WIRE_BY_LEADER, FRAME_MAX);
	outq_init(&link->outq);
	loop_timer_init(&link->timer, loop, on_timer);
	r = server ? transport_accept_tls(&link->transport, context)
		   : transport_connect_tls(&link->transport, context, NULL);
	if (r == 0)
		r = loop_io_init(&link->io, loop, fd, on_io);
	if (r == 0)
		r = loop_io_want(&link->io, LOOP_READ | (server ? 0 : LOOP_WRITE));
	if (r < 0) {
		stop_watching(link);
		return r;
	}
	link->open = true;
	loop_timer_set(&link->timer, clock_now_ns() + S_NS);
	return 0;
}

void link_end(struct link *link, const char *why)
{
	if (!link->open || link->ending)
		return;
	link->ending = true;
	snprintf(link->why, sizeof link->why, "%s", why);
	loop_timer_set(&link->timer, clock_now_ns() + S_NS);
	update_wants(link);
}

// ---- sending

void link_send(struct link *link, uint8_t type, const void *head, size_t head_size,
	       const void *data, size_t size)
{
	uint8_t *payload;
	int r;

	if (!link->open || link->ending)
		return;
	r = outq_small(&link->outq, (uint32_t)(head_size + size), &payload);
	if (r == 0) {
		if (head_size)
			memcpy(payload, head, head_size);
		if (size)
			memcpy(payload + head_size, data, size);
		r = outq_small_done(&link->outq, payload, type, 0, (uint32_t)(head_size + size));
	}
	if (r < 0)
		link_end(link, "out of memory");
	else
		update_wants(link);
}

void link_send_json(struct link *link, uint8_t type, json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	if (text)
		link_send(link, type, text, strlen(text), NULL, 0);
	else
		link_end(link, "out of memory");
	free(text);
	json_decref(body);
}

bool link_has_room(const struct link *link)
{
	return link->outq.bytes < ROOM_BYTES;
}

// ---- payloads

// Before it is parsed, because the parser's depth is the stack's.
static bool is_shallow(struct slice payload)
{
	unsigned depth = 0;

	for (size_t i = 0; i < payload.size; ++i) {
		uint8_t c = payload.data[i];

		if ((c == '{' || c == '[') && ++depth > JSON_LEVELS)
			return false;
		if ((c == '}' || c == ']') && depth)
			--depth;
	}
	return true;
}

json_t *link_json(struct slice payload)
{
	json_t *body = payload.size <= LINK_SLICE_BYTES && is_shallow(payload)
			       ? json_loadb((const char *)payload.data, payload.size, 0, NULL)
			       : NULL;

	if (json_is_object(body))
		return body;
	json_decref(body);
	return NULL;
}

unsigned link_version(unsigned version, unsigned least)
{
	unsigned highest = MIN(version, (unsigned)LINK_VERSION);

	return highest >= MAX(least, (unsigned)LINK_LEAST) ? highest : 0;
}
