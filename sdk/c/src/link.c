// A connection as the client uses it: frames that come in are passed to their streams, frames that
// go out are gathered and written once a round, and everything ends in link_close().
//
// Invariants: there is a slot from OPEN_TOPIC or SUBSCRIBE until CLOSED or ERROR has come for its
// id, even if the stream is no longer wanted; ids rise and are never used again; a link is on
// client->links until it is freed; after LINK_ENDED it has no socket and no streams. A link is
// freed at the end of a round only, so that callers may use it after link_close().
//
// All of it runs on the I/O thread. Not here: the steps until READY (handshake.c), and what streams
// mean (producer_io.c, consumer_io.c).

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "core/wire/codec.h"
#include "core/wire/fields.h"
#include "sdk/c/src/handshake.h"
#include "sdk/c/src/link_impl.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>

#define READS_MAX    16         // of one event, so that no link starves the round
#define READ_AGAIN   8192       // what was read is as much: there may be more
#define OUTPUT_BOUND (1u << 20) // above it oneway messages wait
#define THROTTLE_NS  (2 * S_NS) // one is told at most once a second

int link_new(struct mqp_client *client, const struct address *address, struct link **ret)
{
	struct link *link = calloc(1, sizeof *link);

	if (!link)
		return -ENOMEM;
	link->client = client;
	link->address = *address;
	link->transport.fd = -1;
	link->max_frame = WIRE_EARLY_MAX;
	link->deadline_ns = UINT64_MAX;
	link->next_id = 1; // id 0 is the connection
	framer_init(&link->framer, WIRE_BY_SERVER, WIRE_EARLY_MAX);
	outq_init(&link->outq);
	list_init(&link->streams);
	list_init(&link->marked);
	list_push_back(&client->links, &link->node);
	*ret = link;
	return 0;
}

static void slots_free(struct link *link)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&link->slots, &cursor, &next)))
		free(CONTAINER_OF(node, struct link_slot, node));
	map_deinit(&link->slots);
}

void link_free(struct link *link)
{
	assert(link->state == LINK_ENDED);
	list_unlink(&link->node);
	slots_free(link);
	free(link);
}

// ---- What others ask -------------------------------------------------------------------------

struct link *link_of(struct list *node)
{
	return LIST_ENTRY(node, struct link, node);
}

const struct address *link_address(const struct link *link)
{
	return &link->address;
}

bool link_ready(const struct link *link)
{
	return link->state == LINK_READY && !link->leaving;
}

bool link_leaving(const struct link *link)
{
	return link->leaving;
}

bool link_ended(const struct link *link)
{
	return link->state == LINK_ENDED;
}

bool link_throttled(const struct link *link)
{
	return link->throttled_ns && link->client->now_ns < link->throttled_ns + THROTTLE_NS;
}

size_t link_output_bytes(const struct link *link)
{
	return link->outq.bytes;
}

uint32_t link_max_frame(const struct link *link)
{
	return link->max_frame;
}

bool link_has_begun(const struct link *link)
{
	return link->features & FEATURE_BEGUN;
}

bool link_has_codec(const struct link *link, enum mqp_compression compression)
{
	return (link->codecs >> (unsigned)compression) & 1;
}

uint64_t link_window(const struct link *link)
{
	return link->granted > link->used ? link->granted - link->used : 0;
}

void link_window_use(struct link *link, uint64_t bytes)
{
	link->used += bytes;
}

// ---- Ending ----------------------------------------------------------------------------------

static void link_log_end(struct link *link, enum mqp_code code, const char *why, bool was_ready)
{
	char peer[ADDRESS_HOST_SIZE + 16];
	enum mqp_log_level level = MQP_LOG_INFO;

	// The first failure in a row is worth a warning, those that repeat it are not.
	if (code != MQP_CLOSED && !link->leaving &&
	    (was_ready || rotation_addresses(link->client, link)->failures == 0))
		level = MQP_LOG_WARN;
	address_print(&link->address, peer, sizeof peer);
	client_log(link->client, level, "%s: %s (%s)", peer, why, mqp_code_name(code));
}

static void streams_end(struct link *link)
{
	struct list *node;

	while ((node = list_pop_front(&link->streams))) {
		struct stream *stream = LIST_ENTRY(node, struct stream, node);

		list_unlink(&stream->marked);
		stream->link = NULL;
		stream->open = false;
		stream->ops->ended(stream, MQP_CONNECTION_LOST, 0);
	}
}

void link_close(struct link *link, enum mqp_code code, const char *why)
{
	bool was_ready = link->state == LINK_READY;

	if (link->state == LINK_ENDED)
		return;
	link_log_end(link, code, why, was_ready);
	link->state = LINK_ENDED;
	resolve_abandon(link->resolve);
	if (link->infos)
		freeaddrinfo(link->infos);
	link->infos = NULL;
	// What is queued refers to batches that are about to be given back.
	outq_deinit(&link->outq);
	framer_deinit(&link->framer);
	transport_deinit(&link->transport);
	scram_client_deinit(&link->scram);
	streams_end(link);
	client_link_ended(link->client, link, code);
}

// For failures deep inside a call: the link ends at its next flush, when no caller holds its
// streams.
void link_break(struct link *link)
{
	link->broken = true;
}

void link_leave(struct link *link)
{
	link->leaving = true;
	client_link_leaving(link->client, link);
	LIST_FOREACH(node, next, &link->streams)
	{
		struct stream *stream = LIST_ENTRY(node, struct stream, node);

		stream->ops->leaving(stream);
	}
}

// ---- Writing ---------------------------------------------------------------------------------

int link_send(struct link *link, unsigned type, uint32_t stream, const void *payload, size_t size)
{
	uint8_t *room;
	int r = outq_small(&link->outq, (uint32_t)size, &room);

	if (r == 0) {
		if (size > 0)
			memcpy(room, payload, size);
		r = outq_small_done(&link->outq, room, (uint8_t)type, stream, (uint32_t)size);
	}
	if (r < 0)
		link_break(link);
	return r;
}

static int queue_frame(struct link *link, const struct frame_header *header, struct buf *buf)
{
	struct buf *head;
	int r = buf_new(WIRE_HEADER_SIZE, &head);

	if (r < 0)
		return r;
	frame_encode(head->data, header);
	r = outq_add(&link->outq, head, head->data, WIRE_HEADER_SIZE);
	if (r == 0)
		r = outq_add(&link->outq, buf, buf->data, header->size);
	buf_unref(head);
	return r;
}

int link_send_buf(struct link *link, unsigned type, unsigned flags, uint32_t stream,
		  const struct payload *payload)
{
	struct frame_header header = {
		.size = (uint32_t)payload->size,
		.stream = stream,
		.crc = payload->crc,
		.type = (uint8_t)type,
		.flags = (uint8_t)flags,
	};
	int r = queue_frame(link, &header, payload->buf);

	if (r < 0)
		link_break(link);
	return r;
}

void link_watch(struct link *link)
{
	struct epoll_event event = {.data.ptr = link};
	unsigned want = link->transport.want_read;
	int op = link->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (link->outq.bytes > 0)
		want |= link->transport.want_write;
	if (link->state == LINK_CONNECTING)
		want = TRANSPORT_WRITE;
	event.events = (want & TRANSPORT_READ ? EPOLLIN : 0u) |
		       (want & TRANSPORT_WRITE ? (uint32_t)EPOLLOUT : 0u);
	if (event.events == link->watched)
		return;
	if (epoll_ctl(link->client->epoll_fd, op, link->transport.fd, &event) < 0) {
		link_close(link, MQP_SYSTEM, "epoll refuses the socket");
		return;
	}
	link->watched = event.events;
}

static void link_failed(struct link *link, int error)
{
	char why[256];

	if (error == -EPROTO) {
		transport_problem(&link->transport, why, sizeof why);
		link_close(link, MQP_TLS, why);
		return;
	}
	snprintf(why, sizeof why, "%s", strerror(-error));
	link_close(link, link->state == LINK_READY ? MQP_CONNECTION_LOST : MQP_NOT_CONNECTED, why);
}

// The stream is told when everything that is queued now has been written to the socket.
void link_mark(struct stream *stream)
{
	struct link *link = stream->link;

	stream->mark = link->written + link->outq.bytes;
	list_unlink(&stream->marked);
	list_push_back(&link->marked, &stream->marked);
}

// Marks rise along the list.
static void tell_written(struct link *link)
{
	while (!list_empty(&link->marked)) {
		struct stream *stream = LIST_ENTRY(link->marked.next, struct stream, marked);

		if (stream->mark > link->written)
			return;
		list_unlink(&stream->marked);
		stream->ops->written(stream);
	}
}

void link_flush(struct link *link)
{
	size_t before = link->outq.bytes;
	int r = 0;

	if (link->state < LINK_WELCOME || link->state == LINK_ENDED)
		return;
	if (link->broken) {
		link_close(link, MQP_NO_MEMORY, "no memory for a frame");
		return;
	}
	if (before > 0)
		r = outq_flush(&link->outq, &link->transport);
	link->written += before - link->outq.bytes;
	client_count(link->client, MQP_STAT_BYTES_OUT, before - link->outq.bytes);
	if (r < 0 && r != -EAGAIN) {
		link_failed(link, r);
		return;
	}
	tell_written(link);
	link_watch(link);
	if (before >= OUTPUT_BOUND && link->outq.bytes < OUTPUT_BOUND)
		client_link_window(link->client);
}

// ---- Streams ---------------------------------------------------------------------------------

static struct link_slot *slot_find(const struct link *link, uint32_t id)
{
	struct map_node *node = map_find(&link->slots, id);

	return node ? CONTAINER_OF(node, struct link_slot, node) : NULL;
}

static int slot_new(struct link *link, struct stream *stream, struct link_slot **ret)
{
	struct link_slot *slot = calloc(1, sizeof *slot);

	if (!slot)
		return -ENOMEM;
	slot->node.key = link->next_id;
	slot->stream = stream;
	if (map_put(&link->slots, &slot->node) < 0) {
		free(slot);
		return -ENOMEM;
	}
	++link->next_id;
	*ret = slot;
	return 0;
}

static void slot_free(struct link *link, struct link_slot *slot)
{
	map_remove(&link->slots, &slot->node);
	free(slot);
}

static void slot_close(struct link *link, struct link_slot *slot)
{
	slot->closing = true;
	link_send(link, FRAME_CLOSE, (uint32_t)slot->node.key, NULL, 0);
}

int link_open(struct link *link, struct stream *stream, unsigned type, unsigned tag,
	      const char *name)
{
	struct field_writer writer;
	struct link_slot *slot;
	uint8_t payload[300];

	if (link->next_id > INT32_MAX) {
		link_leave(link); // another connection has ids
		return -EAGAIN;
	}
	if (slot_new(link, stream, &slot) < 0) {
		link_break(link);
		return -ENOMEM;
	}
	stream->link = link;
	stream->id = (uint32_t)slot->node.key;
	stream->open = false;
	list_init(&stream->marked);
	list_push_back(&link->streams, &stream->node);
	field_writer_init(&writer, payload, sizeof payload);
	field_put_text(&writer, (enum field_tag)tag, name);
	link_send(link, type, stream->id, payload,
		  writer.size); // else the stream ends with the link
	return 0;
}

static void stream_unlink(struct stream *stream)
{
	list_unlink(&stream->marked);
	list_unlink(&stream->node);
	stream->link = NULL;
	stream->open = false;
}

// A stream whose opening is not answered is closed when the answer has come.
void link_leave_stream(struct stream *stream)
{
	struct link *link = stream->link;
	struct link_slot *slot = slot_find(link, stream->id);

	assert(slot && slot->stream == stream);
	stream_unlink(stream);
	slot->stream = NULL;
	if (slot->opened)
		slot_close(link, slot);
}

static void stream_opened(struct link *link, struct link_slot *slot, const struct frame *frame)
{
	struct stream *stream = slot->stream;

	slot->opened = true;
	if (!stream) {
		slot_close(link, slot);
		return;
	}
	stream->open = true;
	stream->ops->opened(stream, frame->payload.data, frame->payload.size);
}

// ERROR answers the opening of a stream. CLOSED ends one: asked for, or not; then CLOSE answers it,
// unless one is on its way.
static int stream_ended(struct link *link, struct link_slot *slot, const struct frame *frame)
{
	struct stream *stream = slot->stream;
	enum mqp_code code;
	struct fields fields;

	if (fields_read(frame->payload.data, frame->payload.size, &fields))
		return -EBADMSG;
	code = (enum mqp_code)fields_int(&fields, FIELD_CODE, MQP_NOT_FOUND);
	if (frame->header.type == FRAME_CLOSED && !slot->closing)
		slot_close(link, slot);
	slot_free(link, slot);
	if (stream)
		stream_unlink(stream);
	if (stream)
		stream->ops->ended(stream, code,
				   (uint32_t)fields_int(&fields, FIELD_RETRY_AFTER_MS, 0));
	return 0;
}

static int stream_throttled(struct link *link, struct link_slot *slot, const struct frame *frame)
{
	struct stream *stream = slot->stream;
	struct fields fields;

	if (fields_read(frame->payload.data, frame->payload.size, &fields))
		return -EBADMSG;
	if (fields_int(&fields, FIELD_CODE, MQP_THROTTLED) != MQP_OK)
		client_count(link->client, MQP_STAT_THROTTLES, 1);
	if (stream && stream->ops->turn && fields_int(&fields, FIELD_DIRECTION, 0) == 0)
		stream->ops->turn(stream, fields_int(&fields, FIELD_REMAINING, 0),
				  (uint32_t)fields_int(&fields, FIELD_RETRY_AFTER_MS, 0));
	return 0;
}

static int stream_payload(struct link *link, struct stream *stream, const struct frame *frame)
{
	unsigned codec = frame->header.flags & FRAME_CODEC_MASK;
	struct buf *plain;
	int r;

	if (codec == CODEC_NONE)
		return stream->ops->frame(stream, frame->header.type, frame->buf,
					  frame->payload.data, frame->payload.size);
	if (codec_decompress((enum frame_codec)codec, frame->payload, link->max_frame, &plain) != 0)
		return -EBADMSG;
	r = stream->ops->frame(stream, frame->header.type, plain, plain->data, plain->size);
	buf_unref(plain);
	return r;
}

static int stream_frame(struct link *link, const struct frame *frame)
{
	struct link_slot *slot = slot_find(link, frame->header.stream);

	// Late for a stream that has ended; for one that never was it is a fault.
	if (!slot)
		return frame->header.stream < link->next_id ? 0 : -EBADMSG;
	switch (frame->header.type) {
	case FRAME_TOPIC_OPENED:
	case FRAME_SUBSCRIBED:
		if (slot->opened)
			return -EBADMSG;
		stream_opened(link, slot, frame);
		return 0;
	case FRAME_ERROR:
	case FRAME_CLOSED: return stream_ended(link, slot, frame);
	case FRAME_THROTTLE: return stream_throttled(link, slot, frame);
	default: break;
	}
	if (!slot->opened)
		return -EBADMSG;
	// What comes for a stream that was left has no receiver.
	return slot->stream ? stream_payload(link, slot->stream, frame) : 0;
}

// ---- Frames of the connection ----------------------------------------------------------------

void link_tell_addresses(struct link *link, const struct fields *fields)
{
	struct addresses *addresses = rotation_addresses(link->client, link);
	struct slice text;
	size_t cursor = 0;

	if (!fields_has(fields, FIELD_ADDRESS))
		return;
	addresses_forget_told(addresses);
	while (fields_next(fields, FIELD_ADDRESS, &cursor, &text))
		addresses_tell(addresses, (const char *)text.data, text.size);
}

void link_error_frame(struct link *link, const struct frame *frame)
{
	struct fields fields;
	enum mqp_code code;
	char why[1025];

	if (fields_read(frame->payload.data, frame->payload.size, &fields)) {
		link_close(link, MQP_PROTOCOL, "a malformed ERROR");
		return;
	}
	code = (enum mqp_code)fields_int(&fields, FIELD_CODE, MQP_INTERNAL);
	fields_text(&fields, FIELD_TEXT, why, sizeof why);
	link_close(link, code, why[0] ? why : mqp_strerror(code));
}

static int goaway_frame(struct link *link, const struct frame *frame)
{
	struct fields fields;

	if (fields_read(frame->payload.data, frame->payload.size, &fields))
		return -EBADMSG;
	client_count(link->client, MQP_STAT_GOAWAYS, 1);
	client_log(link->client, MQP_LOG_INFO, "%s asks its clients to leave", link->address.host);
	link_tell_addresses(link, &fields);
	if (!link->leaving)
		link_leave(link);
	return 0;
}

static int window_frame(struct link *link, const struct frame *frame)
{
	if (frame->payload.size != 8)
		return -EBADMSG;
	link->granted = MAX(link->granted, le64_get(frame->payload.data));
	client_link_window(link->client);
	return 0;
}

static int addresses_frame(struct link *link, const struct frame *frame)
{
	struct fields fields;

	if (fields_read(frame->payload.data, frame->payload.size, &fields))
		return -EBADMSG;
	link_tell_addresses(link, &fields);
	return 0;
}

static int throttle_frame(struct link *link, const struct frame *frame)
{
	struct fields fields;

	if (fields_read(frame->payload.data, frame->payload.size, &fields))
		return -EBADMSG;
	client_count(link->client, MQP_STAT_THROTTLES, 1);
	if (fields_int(&fields, FIELD_DIRECTION, 0) == 0)
		link->throttled_ns = link->client->now_ns;
	return 0;
}

static int connection_frame(struct link *link, const struct frame *frame)
{
	switch (frame->header.type) {
	case FRAME_PING:
		if (frame->payload.size != 8)
			return -EBADMSG;
		return link_send(link, FRAME_PONG, 0, frame->payload.data, 8);
	case FRAME_PONG: return 0;
	case FRAME_GOAWAY: return goaway_frame(link, frame);
	case FRAME_ADDRESSES: return addresses_frame(link, frame);
	case FRAME_WINDOW: return window_frame(link, frame);
	case FRAME_THROTTLE: return throttle_frame(link, frame);
	default: return -EBADMSG;
	}
}

static int link_frame(struct link *link, const struct frame *frame)
{
	if (frame->header.type == FRAME_ERROR && frame->header.stream == 0) {
		link_error_frame(link, frame);
		return 0;
	}
	if (link->state != LINK_READY)
		return handshake_frame(link, frame);
	return frame->header.stream ? stream_frame(link, frame) : connection_frame(link, frame);
}

// ---- Reading ---------------------------------------------------------------------------------

static void link_frames(struct link *link)
{
	const char *problem = "a frame that does not belong here";
	struct frame frame;
	int r = 0;

	while (link->state != LINK_ENDED &&
	       (r = framer_next(&link->framer, &frame, &problem)) == FRAMER_FRAME) {
		// Frames of this read keep the buffer even if the link ends among them.
		struct buf *buf = buf_ref(frame.buf);

		r = link_frame(link, &frame);
		buf_unref(buf);
		if (r < 0)
			break;
	}
	if (r == 0 || r == FRAMER_FRAME || link->state == LINK_ENDED)
		return;
	if (r == -ENOMEM)
		link_close(link, MQP_NO_MEMORY, "no memory");
	else
		link_close(link, r == FRAMER_E_CORRUPT ? MQP_CORRUPT : MQP_PROTOCOL, problem);
}

static void link_read(struct link *link)
{
	for (int i = 0; i < READS_MAX; ++i) {
		ssize_t got = framer_fill(&link->framer, &link->transport);

		if (got == -EAGAIN)
			return;
		if (got <= 0) {
			link_failed(link, got == 0 ? -ECONNRESET : (int)got);
			return;
		}
		link->last_read_ns = link->client->now_ns;
		link->pinged = false;
		client_count(link->client, MQP_STAT_BYTES_IN, (uint64_t)got);
		link_frames(link);
		if (link->state == LINK_ENDED ||
		    (got < READ_AGAIN && !transport_pending(&link->transport)))
			return;
	}
}

void link_event(struct link *link, unsigned events)
{
	if (link->state == LINK_CONNECTING)
		handshake_socket_ready(link);
	else if (link->state >= LINK_WELCOME && link->state != LINK_ENDED)
		link_read(link);
}

// ---- Time ------------------------------------------------------------------------------------

// Silence of one interval is answered by a PING, silence of two ends the link.
static uint64_t keepalive_at(const struct link *link)
{
	return link->last_read_ns + link->keepalive_ns * (link->pinged ? 2 : 1);
}

static void link_keepalive(struct link *link, uint64_t now_ns)
{
	uint8_t stamp[8];

	if (now_ns < keepalive_at(link))
		return;
	if (link->pinged) {
		link_close(link, MQP_CONNECTION_LOST, "the proxy is silent");
		return;
	}
	link->pinged = true;
	le64_put(stamp, now_ns);
	link_send(link, FRAME_PING, 0, stamp, sizeof stamp);
}

void link_tick(struct link *link, uint64_t now_ns)
{
	if (link->state == LINK_ENDED)
		return;
	if (now_ns >= link->deadline_ns) {
		link_close(link, MQP_NOT_CONNECTED, "not ready in time");
		return;
	}
	if (link->state == LINK_READY)
		link_keepalive(link, now_ns);
	if (link->leaving && list_empty(&link->streams) && link->outq.bytes == 0)
		link_close(link, MQP_CANCELLED, "left");
}

uint64_t link_next_ns(const struct link *link)
{
	if (link->state == LINK_ENDED)
		return 0;
	return link->state == LINK_READY ? keepalive_at(link) : link->deadline_ns;
}
