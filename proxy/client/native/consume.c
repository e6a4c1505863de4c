// The frames of a subscription: a client's frames become credit and settles, and its group's
// deliveries become DELIVER. Small records are copied together; a large one is written from its own
// buffer.

#include "proxy/client/native/consume.h"

#include "core/base/crc32c.h"
#include "core/wire/credit.h"
#include "core/wire/deliver.h"
#include "core/wire/fields.h"
#include "core/wire/settle.h"
#include "proxy/client/native/native.h"
#include "proxy/client/native/send.h"
#include "proxy/engine/dispatch.h"

#include <errno.h>

#define FRAME_BYTES (256u * 1024) // a DELIVER frame ends there
#define SLICE_BYTES (16u * 1024)  // a record of this size is not copied
#define SLICE_PART                                                                                 \
	4u // unless its buffer is more than that many times as large, and may stay for long

static struct consume_stream *consumer_of(struct subscription *subscription)
{
	return CONTAINER_OF(subscription, struct consume_stream, subscription);
}

// ---- open and close

static void on_joined(struct subscription *subscription, const struct member_link *link)
{
	struct consume_stream *consumer = consumer_of(subscription);
	struct field_writer fields;
	uint8_t room[1024];

	field_writer_init(&fields, room, sizeof room);
	field_put_int(&fields, FIELD_VISIBILITY_MS, link->model->visibility_ms);
	field_put_int(&fields, FIELD_MAX_ATTEMPTS,
		      link->dead_letter ? link->model->max_attempts : 0);
	field_put_text(&fields, FIELD_DEAD_LETTER,
		       link->dead_letter ? link->dead_letter->name : NULL);
	field_put_text(&fields, FIELD_TOPIC_OF_GROUP, link->topic->name);
	native_send(subscription->conn, FRAME_SUBSCRIBED, stream_id(&consumer->stream), room,
		    (uint32_t)fields.size);
}

static void on_refused(struct subscription *subscription, enum code code, const char *text)
{
	struct consume_stream *consumer = consumer_of(subscription);
	struct conn *conn = subscription->conn;

	native_send_error(conn, stream_id(&consumer->stream), code, text);
	if (conn_is_open(conn)) // else it is freed already
		stream_free(&consumer->stream);
}

static void on_ended(struct subscription *subscription, enum code code, const char *text)
{
	stream_end(&consumer_of(subscription)->stream, code, text);
}

static void on_closed(struct subscription *subscription)
{
	stream_closed(&consumer_of(subscription)->stream);
}

static void on_drained(struct subscription *subscription, uint64_t number)
{
	native_send(subscription->conn, FRAME_DRAINED,
		    stream_id(&consumer_of(subscription)->stream), &number, sizeof number);
}

// ---- deliver

static void write_entry(uint8_t *at, const struct delivery *delivery, uint32_t flags)
{
	_Static_assert((int)DISPATCH_FLAG_SUSPECT == DELIVER_SUSPECT &&
			       (int)DISPATCH_FLAG_LAST == DELIVER_LAST,
		       "flags have the bits of the wire");
	deliver_entry_write(at, &(struct deliver_entry){.offset = delivery->offset,
							.stored_ms = delivery->stored_ms,
							.attempt = delivery->attempt,
							.flags = flags});
}

// A slice keeps the whole buffer that it lies in. A connection that is behind would so hold much
// more than is counted for it.
static bool is_wasteful(const struct conn *conn, const struct delivery *delivery)
{
	return conn->out.bytes >= FRAME_BYTES && delivery->buf->size / SLICE_PART > delivery->size;
}

static int send_small(struct consume_stream *consumer, const struct delivery *deliveries,
		      uint32_t count, uint32_t payload_size, uint32_t flags);

// One large record: the frame's head is written, the record stays where it is.
static int send_large(struct consume_stream *consumer, const struct delivery *delivery,
		      uint32_t flags)
{
	struct conn *conn = consumer->stream.conn;
	uint32_t head_size = DELIVER_HEAD_SIZE + DELIVER_ENTRY_SIZE;
	struct frame_header header = {.size = head_size + delivery->size,
				      .stream = stream_id(&consumer->stream),
				      .type = FRAME_DELIVER};
	_cleanup_(buf_unrefp) struct buf *buf = NULL;
	uint8_t *payload;

	if (is_wasteful(conn, delivery))
		return send_small(consumer, delivery, 1, header.size, flags);
	if (buf_new(WIRE_HEADER_SIZE + head_size, &buf) < 0)
		return -ENOMEM;
	payload = buf->data + WIRE_HEADER_SIZE;
	deliver_head_write(payload, &(struct deliver_head){.partition = delivery->partition,
							   .count = 1,
							   .epoch = delivery->epoch});
	write_entry(payload + DELIVER_HEAD_SIZE, delivery, flags);
	header.crc = crc32c(crc32c(0, payload, head_size), delivery->record, delivery->size);
	frame_encode(buf->data, &header);
	conn_send_buf(conn, buf, buf->data, buf->size);
	if (conn_is_open(conn))
		conn_send_buf(conn, delivery->buf, delivery->record, delivery->size);
	return 0;
}

static int send_small(struct consume_stream *consumer, const struct delivery *deliveries,
		      uint32_t count, uint32_t payload_size, uint32_t flags)
{
	_cleanup_(buf_unrefp) struct buf *buf = NULL;
	uint8_t *at;

	if (buf_new(WIRE_HEADER_SIZE + payload_size, &buf) < 0)
		return -ENOMEM;
	at = buf->data + WIRE_HEADER_SIZE;
	deliver_head_write(at, &(struct deliver_head){.partition = deliveries->partition,
						      .count = count,
						      .epoch = deliveries->epoch});
	at += DELIVER_HEAD_SIZE;
	for (uint32_t i = 0; i < count; ++i) {
		write_entry(at, &deliveries[i], flags);
		memcpy(at + DELIVER_ENTRY_SIZE, deliveries[i].record, deliveries[i].size);
		at += DELIVER_ENTRY_SIZE + deliveries[i].size;
	}
	assert(at == buf->data + buf->size);
	frame_seal(buf->data, FRAME_DELIVER, 0, stream_id(&consumer->stream), payload_size);
	conn_send_buf(consumer->stream.conn, buf, buf->data, buf->size);
	return 0;
}

// How many of the deliveries make the next frame, and its payload's size.
static uint32_t frame_of(const struct delivery *deliveries, uint32_t count, uint32_t *ret_size)
{
	uint32_t n = 0, size = DELIVER_HEAD_SIZE;

	while (n < count && deliveries[n].partition == deliveries->partition &&
	       deliveries[n].epoch == deliveries->epoch && deliveries[n].size < SLICE_BYTES &&
	       size < FRAME_BYTES)
		size += DELIVER_ENTRY_SIZE + deliveries[n++].size;
	*ret_size = size;
	return n;
}

static void on_deliver(struct subscription *subscription, const struct delivery *deliveries,
		       uint32_t count, uint32_t flags)
{
	struct consume_stream *consumer = consumer_of(subscription);
	struct conn *conn = subscription->conn;
	uint32_t done = 0, size, n;
	int r = 0;

	while (done < count && conn_is_open(conn) && r == 0) {
		n = frame_of(deliveries + done, count - done, &size);
		r = n ? send_small(consumer, deliveries + done, n, size, flags)
		      : send_large(consumer, deliveries + done, flags);
		done += MAX(n, 1);
	}
	if (r < 0)
		conn_close(conn, CODE_OVERLOADED, "out of memory");
}

// ---- settle

static void read_entries(struct settle_event *event, const uint8_t *at)
{
	for (uint32_t i = 0; i < event->count; ++i, at += SETTLE_ENTRY_SIZE) {
		struct settle_entry entry;

		settle_entry_read(at, &entry);
		event->entries[i] = (struct settle){.epoch = entry.epoch,
						    .offset = entry.offset,
						    .count = entry.count,
						    .partition = entry.partition,
						    .attempt = entry.attempt,
						    .delay_ms = entry.ms,
						    .number = entry.number,
						    .verb = entry.verb};
	}
}

static void send_settled(struct conn *conn, uint32_t stream, const struct settle_event *event)
{
	uint32_t size = SETTLED_HEAD_SIZE + event->count * SETTLED_ENTRY_SIZE;
	uint8_t *payload = native_send_begin(conn, size), *at;

	if (!payload)
		return;
	at = payload + SETTLED_HEAD_SIZE;
	settle_head_write(payload,
			  &(struct settle_head){.settle = event->number, .count = event->count});
	for (uint32_t i = 0; i < event->count; ++i, at += SETTLED_ENTRY_SIZE)
		settle_outcome_write(at,
				     &(struct settle_outcome){.settled = event->entries[i].settled,
							      .code = event->entries[i].code});
	native_send_end(conn, payload, FRAME_SETTLED, stream, size);
}

static void on_settled(struct subscription *subscription, const struct settle_event *event)
{
	send_settled(subscription->conn, stream_id(&consumer_of(subscription)->stream), event);
}

static const struct subscription_ops consume_ops = {.joined = on_joined,
						    .refused = on_refused,
						    .deliver = on_deliver,
						    .settled = on_settled,
						    .drained = on_drained,
						    .ended = on_ended,
						    .closed = on_closed};

void consume_settle(struct conn *conn, struct consume_stream *consumer, const struct frame *frame)
{
	struct settle_head head;
	struct settle_event *event;
	const char *problem = settle_check(frame->payload.data, frame->payload.size,
					   native_of(conn)->features & FEATURE_BEGUN, &head);

	_Static_assert((int)SETTLE_ACK == WIRE_ACK && (int)SETTLE_NACK == WIRE_NACK &&
			       (int)SETTLE_EXTEND == WIRE_EXTEND &&
			       (int)SETTLE_REJECT == WIRE_REJECT &&
			       (int)SETTLE_RELEASE == WIRE_RELEASE,
		       "verbs have the numbers of the wire");
	if (problem) {
		conn_close(conn, CODE_PROTOCOL, problem);
		return;
	}
	event = subscription_settle_new(head.settle, head.count);
	if (!event) {
		conn_close(conn, CODE_OVERLOADED, "out of memory");
		return;
	}
	read_entries(event, frame->payload.data + SETTLE_HEAD_SIZE);
	if (consumer) {
		subscription_settle(&consumer->subscription, event);
		return;
	}
	subscription_settle_stale(event);
	if (event->number)
		send_settled(conn, frame->header.stream, event);
	free(event);
}

// ---- what streams ask

void consume_open(struct conn *conn, uint32_t id, const struct group *group)
{
	struct consume_stream *consumer = calloc(1, sizeof *consumer);
	bool tells_begun = native_of(conn)->features & FEATURE_BEGUN;

	if (!consumer ||
	    subscription_init(&consumer->subscription, &consume_ops, conn, group, tells_begun) <
		    0 ||
	    stream_add(&consumer->stream, conn, STREAM_SUBSCRIPTION, id) < 0) {
		if (consumer)
			free(consumer->subscription.link); // home does not know it yet
		free(consumer);
		native_send_error(conn, id, CODE_OVERLOADED, NULL);
		return;
	}
	subscription_join(&consumer->subscription);
}

void consume_free(struct consume_stream *consumer)
{
	subscription_free(&consumer->subscription);
	loop_free_later(consumer->stream.conn->worker->loop, consumer, free);
}

void consume_close(struct consume_stream *consumer)
{
	subscription_close(&consumer->subscription, consumer->stream.asked);
}

void consume_credit(struct consume_stream *consumer, const struct frame *frame)
{
	struct conn *conn = consumer->stream.conn;
	struct credit credit;
	const char *problem = credit_read(frame->payload.data, frame->payload.size,
					  native_of(conn)->features & FEATURE_BEGUN, &credit);

	if (!problem)
		problem = subscription_credit(
			&consumer->subscription,
			&(struct subscription_credit){.messages = credit.messages,
						      .bytes = credit.bytes,
						      .drain = credit.drain,
						      .begun = credit.begun});
	if (problem)
		conn_close(conn, CODE_PROTOCOL, problem);
}
