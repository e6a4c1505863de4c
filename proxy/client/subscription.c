// Passes credit and settles home, and writes what comes back.
//
// Credit is passed on only as far as the connection's output can hold it: a client that does not
// read its socket stops its own deliveries and nothing else.

#include "proxy/client/subscription.h"

#include "core/base/clock.h"
#include "core/base/crc32c.h"
#include "core/wire/credit.h"
#include "core/wire/deliver.h"
#include "core/wire/fields.h"
#include "core/wire/record.h"
#include "core/wire/settle.h"
#include "proxy/client/clients.h"
#include "proxy/client/native/native.h"
#include "proxy/client/native/send.h"
#include "proxy/engine/dispatch.h"
#include "proxy/group/member.h"
#include "proxy/resource/shared.h"

#include <errno.h>

#define FRAME_BYTES   (256u * 1024) // a DELIVER frame ends there
#define SLICE_BYTES   (16u * 1024)  // a record of this size is not copied
#define CLOSE_WAIT_NS (30 * S_NS)   // a CLOSED waits no longer for answers to settles
#define SLICE_PART    4u // unless what keeps it is larger than so many of it, and may stay for long

// ---- open and close

static void on_impatient(struct loop_timer *timer);
static void on_joined(struct loop_task *task);
static void on_stopped(struct loop_task *task);
static void on_closed(struct loop_task *task);
static void on_gone(struct loop_task *task);
static void on_deliver(struct loop_task *task);
static void on_settled(struct loop_task *task);
static void on_drained(struct loop_task *task);
static void on_throttle(struct loop_task *task);

static const struct member_link_ops link_ops = {.deliver = on_deliver,
						.settled = on_settled,
						.drained = on_drained,
						.throttle = on_throttle};

static struct member_link *link_new(struct subscription *subscription, const struct group *group)
{
	struct worker *near = subscription->stream.conn->worker;
	struct member_link *link = calloc(1, sizeof *link);

	if (!link)
		return NULL;
	link->ops = &link_ops;
	link->near = near;
	link->home = worker_home(near, group->object.id);
	link->group = group->object.id;
	link->session = subscription->stream.conn->node.key;
	link->subscription = subscription;
	list_init(&link->waiting);
	link->tells_begun = native_of(subscription->stream.conn)->features & FEATURE_BEGUN;
	link->end.fn = member_on_end;
	link->join.fn = member_on_join;
	link->stop.fn = member_on_stop;
	link->leave.fn = member_on_leave;
	link->joined.fn = on_joined;
	link->stopped.fn = on_stopped;
	link->closed.fn = on_closed;
	link->gone.fn = on_gone;
	return link;
}

void subscription_open(struct conn *conn, uint32_t id, const struct group *group)
{
	struct subscription *subscription = calloc(1, sizeof *subscription);

	if (!subscription) {
		native_send_error(conn, id, CODE_OVERLOADED, NULL);
		return;
	}
	list_init(&subscription->output_blocked);
	loop_timer_init(&subscription->patience, conn->worker->loop, on_impatient);
	snprintf(subscription->name, sizeof subscription->name, "%s", group->name);
	subscription->stream.conn = conn;
	subscription->link = link_new(subscription, group);
	if (!subscription->link ||
	    stream_add(&subscription->stream, conn, STREAM_SUBSCRIPTION, id) < 0) {
		free(subscription->link);
		free(subscription);
		native_send_error(conn, id, CODE_OVERLOADED, NULL);
		return;
	}
	loop_post(subscription->link->home->loop, &subscription->link->join);
}

// Its end is the client's doing, or the network's.
static bool by_the_client(const struct subscription *subscription)
{
	const struct stream *stream = &subscription->stream;

	return stream->state == STREAM_CLOSING ? stream->asked : !stream->conn->ended_by_us;
}

// Home takes back what it has out, answers what it was asked, and says GONE. Those of a connection
// that ends take turns.
static void leave(struct subscription *subscription, bool paced)
{
	struct conn *conn = subscription->stream.conn;
	struct member_link *link = subscription->link;

	if (subscription->stopping)
		--conn->session.unstopped;
	subscription->stopping = false;
	list_unlink(&subscription->output_blocked);
	if (subscription->left)
		return;
	subscription->left = true;
	link->lost = by_the_client(subscription);
	if (paced)
		leaves_add(&conn->worker->clients->leaves, link, conn->session.leaving++);
	else
		loop_post(link->home->loop, &link->leave);
}

static void let_go_of_link(struct subscription *subscription)
{
	loop_timer_cancel(&subscription->patience);
	if (subscription->link)
		subscription->link->subscription = NULL;
	subscription->link = NULL;
}

void subscription_free(struct subscription *subscription)
{
	if (subscription->link)
		leave(subscription, true);
	let_go_of_link(subscription);
	loop_free_later(subscription->stream.conn->worker->loop, subscription, free);
}

void subscription_close(struct subscription *subscription)
{
	struct loop *loop = subscription->stream.conn->worker->loop;

	leave(subscription, false);
	loop_timer_set(&subscription->patience, loop_now_ns(loop) + CLOSE_WAIT_NS);
}

// What home has not answered by now is answered no more: CLOSED is the last frame.
static void on_impatient(struct loop_timer *timer)
{
	struct subscription *subscription = CONTAINER_OF(timer, struct subscription, patience);

	let_go_of_link(subscription);
	stream_closed(&subscription->stream);
}

static void on_gone(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, gone);
	struct subscription *subscription = link->subscription;

	if (subscription)
		let_go_of_link(subscription);
	leaves_gone(&link->near->clients->leaves, link);
	worker_check_drained(link->near);
	free(link);
	if (subscription)
		stream_closed(&subscription->stream);
}

static void drop_models(struct member_link *link)
{
	link->model = model_unref(link->model);
	link->topic = model_unref(link->topic);
	link->dead_letter = model_unref(link->dead_letter);
}

static void on_joined(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, joined);
	struct subscription *subscription = link->subscription;
	struct field_writer fields;
	uint8_t room[1024];

	if (!subscription) {
		drop_models(link);
		return;
	}
	if (link->code != CODE_OK) {
		native_send_error(subscription->stream.conn, stream_id(&subscription->stream),
				  link->code, link->text);
		drop_models(link);
		if (link->subscription)
			stream_free(&subscription->stream);
		return;
	}
	subscription->joined = true;
	subscription->largest = link->topic->message_bytes;
	field_writer_init(&fields, room, sizeof room);
	field_put_int(&fields, FIELD_VISIBILITY_MS, link->model->visibility_ms);
	field_put_int(&fields, FIELD_MAX_ATTEMPTS,
		      link->dead_letter ? link->model->max_attempts : 0);
	field_put_text(&fields, FIELD_DEAD_LETTER,
		       link->dead_letter ? link->dead_letter->name : NULL);
	field_put_text(&fields, FIELD_TOPIC_OF_GROUP, link->topic->name);
	drop_models(link);
	native_send(subscription->stream.conn, FRAME_SUBSCRIBED, stream_id(&subscription->stream),
		    room, (uint32_t)fields.size);
}

static void on_closed(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, closed);

	if (link->subscription)
		stream_end(&link->subscription->stream, link->closed_code, link->closed_text);
}

// ---- leaving in order

void subscription_stop_all(struct conn *conn)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&native_of(conn)->streams, &cursor, &next))) {
		struct stream *stream = CONTAINER_OF(node, struct stream, node);
		struct subscription *subscription;

		if (stream->kind != STREAM_SUBSCRIPTION || stream->state != STREAM_OPEN)
			continue;
		subscription = CONTAINER_OF(stream, struct subscription, stream);
		if (subscription->stopping)
			continue;
		subscription->stopping = true;
		list_unlink(&subscription->output_blocked);
		++conn->session.unstopped;
		loop_post(subscription->link->home->loop, &subscription->link->stop);
	}
}

static void on_stopped(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, stopped);
	struct subscription *subscription = link->subscription;

	if (!subscription || !subscription->stopping)
		return;
	subscription->stopping = false;
	--subscription->stream.conn->session.unstopped;
	conn_check_left(subscription->stream.conn);
}

// ---- credit

// What may be on its way to the client's socket: enough that one large message does not stop the
// next.
static uint64_t output_window(const struct subscription *subscription)
{
	const struct proxy_limits *limits = &subscription->stream.conn->worker->limits;
	uint32_t largest = MIN(limits->max_message, subscription->largest);

	return MAX(limits->output, 2 * (uint64_t)largest);
}

// `heard`: the client has sent it at this moment. What it begins counts also on a connection that
// is leaving.
static void pass_credit(struct subscription *subscription, bool heard)
{
	struct conn *conn = subscription->stream.conn;
	uint64_t bytes = MIN(subscription->credit_bytes,
			     subscription->given_bytes + output_window(subscription));
	struct credit_event *event;

	if (conn->state != CONN_READY && !heard)
		return;
	event = malloc(sizeof *event);
	if (!event) {
		conn_close(conn, CODE_OVERLOADED, "out of memory");
		return;
	}
	subscription->passed_messages = subscription->credit_messages;
	subscription->passed_bytes = bytes;
	*event = (struct credit_event){.task.fn = member_on_credit,
				       .link = subscription->link,
				       .messages = subscription->credit_messages,
				       .bytes = bytes,
				       .drain = subscription->drain,
				       .begun = subscription->begun,
				       .heard = heard};
	// What home has given up for a drain must not be given again before we know.
	if (subscription->drain_passed != subscription->drained)
		event->messages = event->bytes = 0;
	subscription->drain_passed = subscription->drain;
	list_unlink(&subscription->output_blocked);
	if (bytes < subscription->credit_bytes && conn->state == CONN_READY)
		list_push_back(&conn->session.output_blocked, &subscription->output_blocked);
	loop_post(subscription->link->home->loop, &event->task);
}

void subscription_feed_all(struct conn *conn)
{
	LIST_FOREACH(pos, next, &conn->session.output_blocked)
	{
		struct subscription *subscription =
			LIST_ENTRY(pos, struct subscription, output_blocked);

		uint64_t window = output_window(subscription);

		if (subscription->given_bytes + window >= subscription->passed_bytes + window / 4)
			pass_credit(subscription, false);
		if (!conn_is_open(conn))
			return;
	}
}

void subscription_credit(struct subscription *subscription, const struct frame *frame)
{
	struct conn *conn = subscription->stream.conn;
	struct credit credit;
	const char *problem = credit_read(frame->payload.data, frame->payload.size,
					  native_of(conn)->features & FEATURE_BEGUN, &credit);

	if (!problem && credit.begun < subscription->begun)
		problem = "what has begun never becomes less";
	if (!problem && credit.begun > subscription->given_messages)
		problem = "more has begun than was delivered";
	if (problem) {
		conn_close(conn, CODE_PROTOCOL, problem);
		return;
	}
	subscription->credit_messages = MAX(subscription->credit_messages, credit.messages);
	subscription->credit_bytes = MAX(subscription->credit_bytes, credit.bytes);
	subscription->drain = MAX(subscription->drain, credit.drain);
	subscription->begun = credit.begun;
	pass_credit(subscription, true);
}

static void on_drained(struct loop_task *task)
{
	struct drained_event *event = CONTAINER_OF(task, struct drained_event, task);
	struct subscription *subscription = event->link->subscription;
	uint64_t number = event->number;

	free(event);
	if (!subscription)
		return;
	subscription->drained = number;
	subscription->credit_messages = subscription->given_messages;
	subscription->credit_bytes = subscription->given_bytes;
	list_unlink(&subscription->output_blocked);
	native_send(subscription->stream.conn, FRAME_DRAINED, stream_id(&subscription->stream),
		    &number, sizeof number);
}

static void on_throttle(struct loop_task *task)
{
	struct throttle_event *event = CONTAINER_OF(task, struct throttle_event, task);
	struct subscription *subscription = event->link->subscription;

	if (subscription)
		conn_tell_throttled(subscription->stream.conn, QUOTA_CONSUME,
				    &(struct quota_answer){.wait_ns = event->wait_ns,
							   .limit = event->limit,
							   .remaining = event->remaining,
							   .bytes = event->bytes});
	free(event);
}

// ---- deliver

static void entry_write(uint8_t *at, const struct delivery *delivery, uint32_t flags)
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

static int send_small(struct subscription *subscription, const struct delivery *deliveries,
		      uint32_t count, uint32_t payload_size, uint32_t flags);

// One large record: the frame's head is written, the record stays where it is.
static int send_large(struct subscription *subscription, const struct delivery *delivery,
		      uint32_t flags)
{
	struct conn *conn = subscription->stream.conn;
	uint32_t head_size = DELIVER_HEAD_SIZE + DELIVER_ENTRY_SIZE;
	struct frame_header header = {.size = head_size + delivery->size,
				      .stream = stream_id(&subscription->stream),
				      .type = FRAME_DELIVER};
	_cleanup_(buf_unrefp) struct buf *buf = NULL;
	uint8_t *payload;

	if (is_wasteful(conn, delivery))
		return send_small(subscription, delivery, 1, header.size, flags);
	if (buf_new(WIRE_HEADER_SIZE + head_size, &buf) < 0)
		return -ENOMEM;
	payload = buf->data + WIRE_HEADER_SIZE;
	deliver_head_write(payload, &(struct deliver_head){.partition = delivery->partition,
							   .count = 1,
							   .epoch = delivery->epoch});
	entry_write(payload + DELIVER_HEAD_SIZE, delivery, flags);
	header.crc = crc32c(crc32c(0, payload, head_size), delivery->record, delivery->size);
	frame_encode(buf->data, &header);
	conn_send_buf(conn, buf, buf->data, buf->size);
	if (conn_is_open(conn))
		conn_send_buf(conn, delivery->buf, delivery->record, delivery->size);
	return 0;
}

static int send_small(struct subscription *subscription, const struct delivery *deliveries,
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
		entry_write(at, &deliveries[i], flags);
		memcpy(at + DELIVER_ENTRY_SIZE, deliveries[i].record, deliveries[i].size);
		at += DELIVER_ENTRY_SIZE + deliveries[i].size;
	}
	frame_seal(buf->data, FRAME_DELIVER, 0, stream_id(&subscription->stream), payload_size);
	conn_send_buf(subscription->stream.conn, buf, buf->data, buf->size);
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

// Only first attempts: of a later one the time since it was stored says nothing.
static void latency_note(struct worker *worker, const struct delivery *deliveries, uint32_t count)
{
	int64_t now_ms = clock_wall_ms(), stored_ms = 0;
	uint32_t same = 0; // what was stored together is counted together

	for (uint32_t i = 0; i < count; ++i) {
		if (deliveries[i].attempt != 1)
			continue;
		if (same && deliveries[i].stored_ms != stored_ms) {
			latency_add(&worker->latencies[LATENCY_DELIVER],
				    (uint64_t)MAX(now_ms - stored_ms, 0) * MS_NS, same);
			same = 0;
		}
		stored_ms = deliveries[i].stored_ms;
		++same;
	}
	if (same)
		latency_add(&worker->latencies[LATENCY_DELIVER],
			    (uint64_t)MAX(now_ms - stored_ms, 0) * MS_NS, same);
}

static void write_deliveries(struct subscription *subscription, const struct delivery *deliveries,
			     uint32_t count, uint32_t flags)
{
	struct conn *conn = subscription->stream.conn;
	uint32_t done = 0, size, n;
	int r = 0;

	while (done < count && conn_is_open(conn) && r == 0) {
		n = frame_of(deliveries + done, count - done, &size);
		r = n ? send_small(subscription, deliveries + done, n, size, flags)
		      : send_large(subscription, deliveries + done, flags);
		done += MAX(n, 1);
	}
	if (r < 0)
		conn_close(conn, CODE_OVERLOADED, "out of memory");
}

static void on_deliver(struct loop_task *task)
{
	struct deliver_event *event = CONTAINER_OF(task, struct deliver_event, task);
	struct subscription *subscription = event->link->subscription;
	struct buf *last = NULL;

	budget_give_back(event->memory, BUDGET_OUTPUT, event->bytes);
	if (subscription && !subscription->left) {
		subscription->given_messages += event->count;
		latency_note(event->link->near, event->deliveries, event->count);
		subscription->given_bytes +=
			event->bytes - (uint64_t)event->count * DELIVER_ENTRY_SIZE;
		write_deliveries(subscription, event->deliveries, event->count,
				 event->link->tells_begun ? event->flags : 0);
	}
	for (uint32_t i = 0; i < event->count; ++i) {
		if (event->deliveries[i].buf != last)
			buf_unref(last);
		last = event->deliveries[i].buf;
	}
	buf_unref(last);
	free(event);
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

// The stream is closed: nothing is the client's any more.
static void answer_stale(struct conn *conn, uint32_t stream, struct settle_event *event)
{
	for (uint32_t i = 0; i < event->count; ++i) {
		event->entries[i].code = CODE_STALE;
		event->entries[i].settled = 0;
	}
	if (event->number)
		send_settled(conn, stream, event);
	free(event);
}

void subscription_settle(struct conn *conn, struct subscription *subscription,
			 const struct frame *frame)
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
	event = malloc(sizeof *event + head.count * sizeof event->entries[0]);
	if (!event) {
		conn_close(conn, CODE_OVERLOADED, "out of memory");
		return;
	}
	*event = (struct settle_event){.task.fn = member_on_settle,
				       .since_ns = clock_now_ns(),
				       .link = subscription ? subscription->link : NULL,
				       .number = head.settle,
				       .count = head.count};
	read_entries(event, frame->payload.data + SETTLE_HEAD_SIZE);
	if (subscription)
		loop_post(subscription->link->home->loop, &event->task);
	else
		answer_stale(conn, frame->header.stream, event);
}

static void on_settled(struct loop_task *task)
{
	struct settle_event *event = CONTAINER_OF(task, struct settle_event, task);
	struct subscription *subscription = event->link->subscription;

	latency_add(&event->link->near->latencies[LATENCY_SETTLE], clock_now_ns() - event->since_ns,
		    event->count);
	if (subscription)
		send_settled(subscription->stream.conn, stream_id(&subscription->stream), event);
	free(event);
}
