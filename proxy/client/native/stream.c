// Opening and closing streams: the steps auth (by name and grants) and route (to a handle) of every
// later frame, done once.
//
// The grant is checked before the name is looked up, so a key learns nothing about names that it
// has no right on. A name always means an object of the key's own tenant.
//
// CLOSED is the last frame of its stream: it waits until every batch and settle that was read
// before is answered. A stream that the proxy ends by itself stays in the map after its CLOSED,
// without its resources, until the client's CLOSE: frames that the client sent before it knew are
// ignored. docs/protocol.md has the crossings.

#include "proxy/client/native/stream.h"

#include "core/wire/fields.h"
#include "core/wire/produce.h"
#include "proxy/client/batch.h"
#include "proxy/client/native/consume.h"
#include "proxy/client/native/native.h"
#include "proxy/client/native/produce.h"
#include "proxy/client/native/send.h"
#include "proxy/client/sender_turn.h"
#include "proxy/resource/shared.h"

#include <errno.h>

int stream_add(struct stream *stream, struct conn *conn, enum stream_kind kind, uint32_t id)
{
	stream->conn = conn;
	stream->kind = (uint8_t)kind;
	stream->node.key = id;
	return map_put(&native_of(conn)->streams, &stream->node);
}

static struct stream *find_stream(const struct conn *conn, uint32_t id)
{
	struct map_node *node = map_find(&native_of(conn)->streams, id);

	return node ? CONTAINER_OF(node, struct stream, node) : NULL;
}

static struct topic_stream *as_topic(struct stream *stream)
{
	return stream && stream->kind == STREAM_TOPIC
		       ? CONTAINER_OF(stream, struct topic_stream, stream)
		       : NULL;
}

static struct consume_stream *as_consumer(struct stream *stream)
{
	return stream && stream->kind == STREAM_SUBSCRIPTION
		       ? CONTAINER_OF(stream, struct consume_stream, stream)
		       : NULL;
}

static void let_go_of_topic(struct topic_stream *stream)
{
	sender_turn_leave(&stream->quota_turn);
	topic_user_leave(&stream->user);
}

void stream_free(struct stream *stream)
{
	map_remove(&native_of(stream->conn)->streams, &stream->node);
	if (stream->state == STREAM_CLOSING)
		--native_of(stream->conn)->closing;
	if (stream->kind == STREAM_TOPIC) {
		let_go_of_topic(as_topic(stream));
		free(as_topic(stream));
	} else {
		consume_free(as_consumer(stream));
	}
}

static void send_closed(struct conn *conn, uint32_t id, enum code code, const char *text)
{
	struct field_writer fields;
	uint8_t room[256];

	field_writer_init(&fields, room, sizeof room);
	field_put_int(&fields, FIELD_CODE, code);
	field_put_text(&fields, FIELD_TEXT, text);
	native_send(conn, FRAME_CLOSED, id, room, (uint32_t)fields.size);
}

// Sending may close the connection, so it comes last.
void stream_closed(struct stream *stream)
{
	struct conn *conn = stream->conn;
	uint32_t id = stream_id(stream);
	enum code code = (enum code)stream->code;
	const char *text = stream->text;

	assert(stream->state == STREAM_CLOSING);
	if (stream->asked) {
		stream_free(stream);
	} else {
		--native_of(conn)->closing;
		stream->state = STREAM_ENDED;
	}
	send_closed(conn, id, code, text);
	if (conn->state == CONN_LEAVING)
		conn_check_left(conn);
}

void stream_answered(struct topic_stream *stream)
{
	assert(stream->unanswered > 0);
	if (--stream->unanswered == 0 && stream->stream.state == STREAM_CLOSING)
		stream_closed(&stream->stream);
}

static void topic_close(struct topic_stream *stream)
{
	struct conn *conn = stream->stream.conn;

	let_go_of_topic(stream);
	++stream->unanswered; // it stays until the end of this
	if (!stream->stream.asked)
		batch_refuse_waiting(conn, &stream->quota_turn, (enum code)stream->stream.code);
	if (conn_is_open(conn))
		stream_answered(stream);
}

static void stream_close(struct stream *stream, enum code code, const char *text)
{
	stream->state = STREAM_CLOSING;
	stream->code = (uint16_t)code;
	stream->text = text;
	++native_of(stream->conn)->closing;
	if (stream->kind == STREAM_TOPIC)
		topic_close(as_topic(stream));
	else
		consume_close(as_consumer(stream));
}

void stream_end(struct stream *stream, enum code code, const char *text)
{
	if (stream->state == STREAM_OPEN)
		stream_close(stream, code, text);
}

void stream_free_all(struct conn *conn)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&native_of(conn)->streams, &cursor, &next)))
		stream_free(CONTAINER_OF(node, struct stream, node));
}

void stream_stop_all(struct conn *conn)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&native_of(conn)->streams, &cursor, &next))) {
		struct stream *stream = CONTAINER_OF(node, struct stream, node);

		if (stream->kind == STREAM_SUBSCRIPTION && stream->state == STREAM_OPEN)
			subscription_stop(&as_consumer(stream)->subscription);
	}
}

void stream_each_use(const struct conn *conn, conn_use_fn fn, void *ctx)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&native_of(conn)->streams, &cursor, &next))) {
		struct stream *stream = CONTAINER_OF(node, struct stream, node);

		if (stream->state != STREAM_OPEN)
			continue;
		if (stream->kind == STREAM_TOPIC)
			fn(ctx, false, as_topic(stream)->user.use->model->name);
		else
			fn(ctx, true, as_consumer(stream)->subscription.name);
	}
}

// ---- grants

static bool still_granted(struct stream *stream)
{
	if (stream->kind == STREAM_TOPIC)
		return session_granted(&stream->conn->session,
				       as_topic(stream)->user.use->model->name, ACCESS_PRODUCE);
	return session_granted(&stream->conn->session, as_consumer(stream)->subscription.name,
			       ACCESS_CONSUME);
}

void stream_recheck_all(struct conn *conn)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while (conn_is_open(conn) && (node = map_next(&native_of(conn)->streams, &cursor, &next))) {
		struct stream *stream = CONTAINER_OF(node, struct stream, node);

		if (stream->state == STREAM_OPEN && !still_granted(stream))
			stream_end(stream, CODE_FORBIDDEN,
				   "the access key may not do this any more");
	}
}

// ---- OPEN_TOPIC

static enum code route_topic(struct conn *conn, const char *name, struct topic_use **ret,
			     const char **ret_text)
{
	const struct topic *topic;
	enum code code = CODE_NOT_FOUND;

	if (!session_granted(&conn->session, name, ACCESS_PRODUCE)) {
		*ret_text = "the access key may not send to this topic";
		return CODE_FORBIDDEN;
	}
	topic = catalog_topic_by_name(conn->worker->shared->catalog, conn->session.tenant->node.key,
				      name);
	if (topic && topic->dead_letter_of) {
		*ret_text = "a dead-letter topic is filled by its group only";
		code = CODE_FORBIDDEN;
	} else if (topic) {
		code = topic_use_get(conn->worker, topic, ret);
	}
	model_unref(topic);
	return code;
}

static uint32_t message_limit(const struct conn *conn, const struct topic *topic)
{
	uint32_t limit = MIN(conn->worker->limits.max_message, topic->message_bytes);

	return MIN(limit, conn->session.tenant->model->limits.message_bytes);
}

static void update_limit(struct topic_stream *stream)
{
	stream->max_record = message_limit(stream->stream.conn, stream->user.use->model);
}

static void on_topic_changed(struct topic_user *user)
{
	update_limit(CONTAINER_OF(user, struct topic_stream, user));
}

static void on_topic_ended(struct topic_user *user, enum code code, const char *text)
{
	stream_end(&CONTAINER_OF(user, struct topic_stream, user)->stream, code, text);
}

static const struct topic_user_ops user_ops = {.changed = on_topic_changed,
					       .ended = on_topic_ended};

void stream_limits_changed(struct conn *conn)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&native_of(conn)->streams, &cursor, &next))) {
		struct topic_stream *stream = as_topic(CONTAINER_OF(node, struct stream, node));

		if (!stream || !stream->user.use)
			continue;
		update_limit(stream);
		sender_turn_changed(&stream->quota_turn);
		if (!conn_is_open(conn))
			return;
	}
}

static void tell_turn(struct sender_turn *turn, const struct sender_turn_notice *notice)
{
	struct topic_stream *stream = CONTAINER_OF(turn, struct topic_stream, quota_turn);
	struct field_writer fields;
	uint8_t room[96];

	field_writer_init(&fields, room, sizeof room);
	field_put_int(&fields, FIELD_CODE, notice->code);
	field_put_int(&fields, FIELD_DIRECTION, QUOTA_PRODUCE);
	field_put_int(&fields, FIELD_UNIT, notice->quota.bytes);
	field_put_int(&fields, FIELD_LIMIT, notice->quota.limit);
	field_put_int(&fields, FIELD_REMAINING, notice->messages);
	field_put_int(&fields, FIELD_RETRY_AFTER_MS, batch_wait_ms(notice->wait_ns));
	native_send(turn->conn, FRAME_THROTTLE, stream_id(&stream->stream), room,
		    (uint32_t)fields.size);
}

static void open_topic(struct conn *conn, uint32_t id, const char *name)
{
	struct topic_use *use = NULL;
	const char *text = NULL;
	enum code code = route_topic(conn, name, &use, &text);
	struct topic_stream *stream = code == CODE_OK ? calloc(1, sizeof *stream) : NULL;
	struct field_writer fields;
	uint64_t messages, wait_ns;
	uint8_t room[128];

	if (code == CODE_OK &&
	    (!stream || stream_add(&stream->stream, conn, STREAM_TOPIC, id) < 0)) {
		free(stream);
		topic_use_unref(use);
		code = CODE_OVERLOADED;
	}
	if (code != CODE_OK) {
		native_send_error(conn, id, code, text);
		return;
	}
	topic_user_join(&stream->user, &user_ops, use);
	sender_turn_join(&stream->quota_turn, conn, tell_turn);
	update_limit(stream);
	field_writer_init(&fields, room, sizeof room);
	field_put_int(&fields, FIELD_PARTITIONS, use->model->partitions);
	field_put_int(&fields, FIELD_DURABILITY, topic_use_durability(use));
	field_put_int(&fields, FIELD_NATIVE, use->model->native);
	field_put_int(&fields, FIELD_MAX_MESSAGE, stream->max_record);
	if (sender_turn_open(&stream->quota_turn, &messages, &wait_ns)) {
		field_put_int(&fields, FIELD_REMAINING, messages);
		field_put_int(&fields, FIELD_RETRY_AFTER_MS, batch_wait_ms(wait_ns));
	}
	native_send(conn, FRAME_TOPIC_OPENED, id, room, (uint32_t)fields.size);
}

// ---- SUBSCRIBE

static enum code route_group(struct conn *conn, const char *name, const struct group **ret,
			     const char **ret_text)
{
	const struct group *group;

	if (!session_granted(&conn->session, name, ACCESS_CONSUME)) {
		*ret_text = "the access key may not consume from this group";
		return CODE_FORBIDDEN;
	}
	group = catalog_group_by_name(conn->worker->shared->catalog, conn->session.tenant->node.key,
				      name);
	if (!group)
		return CODE_NOT_FOUND;
	*ret = group;
	return group->state == MODEL_READY ? CODE_OK : CODE_NOT_READY;
}

static void subscribe_group(struct conn *conn, uint32_t id, const char *name)
{
	const struct group *group = NULL;
	const char *text = NULL;
	enum code code = route_group(conn, name, &group, &text);

	if (code == CODE_OK)
		consume_open(conn, id, group);
	else
		native_send_error(conn, id, code, text);
	model_unref(group);
}

// ---- frames

static void on_open(struct conn *conn, const struct frame *frame)
{
	enum field_tag tag = frame->header.type == FRAME_OPEN_TOPIC ? FIELD_TOPIC : FIELD_GROUP;
	uint32_t id = frame->header.stream;
	char name[MODEL_NAME_BYTES + 1];
	struct fields fields;
	const char *problem = fields_read(frame->payload.data, frame->payload.size, &fields);

	if (!problem && (id == 0 || id > INT32_MAX || find_stream(conn, id)))
		problem = "the stream id is not free";
	if (!problem && !fields_has(&fields, tag))
		problem = "the name is missing";
	if (problem) {
		conn_close(conn, CODE_PROTOCOL, problem);
		return;
	}
	fields_text(&fields, tag, name, sizeof name);
	if (conn->state == CONN_LEAVING)
		native_send_error(conn, id, CODE_SHUTTING_DOWN, NULL);
	else if (native_of(conn)->streams.count >= conn->worker->limits.streams)
		native_send_error(conn, id, CODE_LIMIT_EXCEEDED, "too many streams");
	else if (tag == FIELD_TOPIC)
		open_topic(conn, id, name);
	else
		subscribe_group(conn, id, name);
}

static void on_close(struct conn *conn, struct stream *stream, const struct frame *frame)
{
	if (frame->payload.size) {
		conn_close(conn, CODE_PROTOCOL, "CLOSE has no payload");
		return;
	}
	if (!stream)
		return; // it was refused
	if (stream->state == STREAM_ENDED) {
		stream_free(stream); // our CLOSED has answered it
		return;
	}
	stream->asked = true;
	if (stream->state == STREAM_OPEN)
		stream_close(stream, CODE_OK, NULL);
}

static bool is_kind(const struct stream *stream, enum stream_kind kind)
{
	return !stream || stream->kind == kind;
}

static void on_credit(struct stream *stream, const struct frame *frame)
{
	if (stream && stream->state == STREAM_OPEN)
		consume_credit(as_consumer(stream), frame);
}

static void on_settle(struct conn *conn, struct stream *stream, const struct frame *frame)
{
	bool open = stream && stream->state == STREAM_OPEN;

	consume_settle(conn, open ? as_consumer(stream) : NULL, frame);
}

static void on_produce(struct conn *conn, struct stream *stream, const struct frame *frame)
{
	if (stream && stream->state == STREAM_ENDED)
		produce_ignore(conn, frame);
	else
		produce_frame(conn, as_topic(stream), frame);
}

// A stream that is not open may have been refused or ended by us a moment ago, so nothing about it
// is an error of the protocol; but a frame for the other kind of stream is.
void stream_frame(struct conn *conn, const struct frame *frame)
{
	struct stream *stream = find_stream(conn, frame->header.stream);
	bool ended = stream && stream->state == STREAM_ENDED;

	switch (frame->header.type) {
	case FRAME_OPEN_TOPIC:
	case FRAME_SUBSCRIBE: on_open(conn, frame); return;
	case FRAME_CLOSE: on_close(conn, stream, frame); return;
	case FRAME_PRODUCE:
		if (!is_kind(stream, STREAM_TOPIC))
			break;
		on_produce(conn, stream, frame);
		return;
	case FRAME_CREDIT:
		if (!is_kind(stream, STREAM_SUBSCRIPTION))
			break;
		on_credit(stream, frame);
		return;
	case FRAME_SETTLE:
		if (!is_kind(stream, STREAM_SUBSCRIPTION))
			break;
		if (!ended)
			on_settle(conn, stream, frame);
		return;
	default: break;
	}
	conn_close(conn, CODE_PROTOCOL, "the frame does not belong to this kind of stream");
}
