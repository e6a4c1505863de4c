// A reader of a stream: qos, consume with a place to begin, and what arrives as records.
//
// **The place.** A stream hands out what it keeps in chunks, and a time names a chunk: messages
// before the place come, too, and are passed over here. The time of a chunk is the broker's, and
// the one of a message its proxy's: so the broker is asked for CLOCKS_S earlier. A message of a
// native producer that names no time has none of its own; it counts as stored late enough.
//
// **The end** is where nothing more comes for a while. The broker's count of a stream lags behind
// its confirms by seconds (tried: 0 with ten confirmed messages, both versions), so it says
// nothing. An owner that must not miss a confirmed message ends at a mark of its own instead.
//
// **Memory.** PREFETCH messages are on their way at most; each is acknowledged as soon as it has
// come, unless the owner holds the stream: then when it goes on.
//
// Invariant: done() comes once, behind everything else. The channel is closed in order: a stream
// takes no message back, so it does not matter what is unacknowledged then. What it does not do:
// basic.get, nack and purge, each of which costs the connection (540).

#include "adapters/rabbitmq/history/stream.h"

#include "core/base/clock.h"

#include <errno.h>
#include <stdio.h>

#define PREFETCH   64u
#define CLOCKS_S   5           // by how much clocks may differ
#define MOST_BYTES (16u << 20) // of a record, as core/registry/constraints.c has it
#define OFFSET     "x-stream-offset"

enum part { PART_NONE, PART_RECORD, PART_SKIPPED };

static struct rabbitmq_stream *stream_of(struct rabbitmq_channel *channel)
{
	return CONTAINER_OF(channel, struct rabbitmq_stream, channel);
}

// ---- ending

static void arriving_drop(struct rabbitmq_stream *stream)
{
	if (stream->part == PART_RECORD)
		buf_unref(stream->arriving.buf);
	stream->part = PART_NONE;
}

void rabbitmq_stream_end(struct rabbitmq_stream *stream, enum code code)
{
	if (stream->ending)
		return;
	stream->ending = true;
	stream->code = code;
	loop_timer_cancel(&stream->timer);
	arriving_drop(stream);
	rabbitmq_channel_close(&stream->channel);
}

static void on_closed(struct rabbitmq_channel *channel, enum code code, uint16_t reply,
		      const char *text)
{
	struct rabbitmq_stream *stream = stream_of(channel);
	bool ours = stream->ending;

	stream->ending = true;
	loop_timer_cancel(&stream->timer);
	arriving_drop(stream);
	if (ours)
		stream->done(stream, stream->code, NULL);
	else if (reply == AMQP_NOT_FOUND)
		stream->done(stream, CODE_NOT_FOUND, text);
	else
		stream->done(stream, code == CODE_OK ? CODE_SHUTTING_DOWN : code, text);
}

// ---- time

static uint64_t begin_limit_ns(const struct rabbitmq_stream *stream)
{
	return stream->heard_ns + stream->adapter->options.timeout_ms * MS_NS;
}

static void timer_arm(struct rabbitmq_stream *stream)
{
	uint64_t at_ns = stream->deadline_ns;

	if (!stream->reading)
		at_ns = MIN(at_ns, begin_limit_ns(stream));
	if (stream->reading && stream->quiet_ns && !stream->holds)
		at_ns = MIN(at_ns, stream->heard_ns + stream->quiet_ns);
	loop_timer_set(&stream->timer, at_ns);
}

static void heard(struct rabbitmq_stream *stream)
{
	stream->heard_ns = clock_now_ns();
}

// Deliveries do not move the timer: it looks when it is due whether any have come.
static void on_timer(struct loop_timer *timer)
{
	struct rabbitmq_stream *stream = CONTAINER_OF(timer, struct rabbitmq_stream, timer);
	uint64_t now_ns = clock_now_ns();

	if (now_ns >= stream->deadline_ns || (!stream->reading && now_ns >= begin_limit_ns(stream)))
		rabbitmq_stream_end(stream, CODE_TIMEOUT);
	else if (stream->reading && stream->quiet_ns && !stream->holds &&
		 now_ns >= stream->heard_ns + stream->quiet_ns)
		rabbitmq_stream_end(stream, CODE_OK);
	else
		timer_arm(stream);
}

// ---- beginning

static amqp_field_value_t place_of(const struct rabbitmq_stream *stream)
{
	int64_t second = stream->time_ms / 1000 - CLOCKS_S;

	if (stream->by_time)
		return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_TIMESTAMP,
					    .value.u64 = (uint64_t)MAX(second, 0)};
	if (!stream->offset)
		return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_UTF8,
					    .value.bytes = amqp_cstring_bytes("first")};
	return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_I64,
				    .value.i64 = (int64_t)MIN(stream->offset, (uint64_t)INT64_MAX)};
}

static void on_opened(struct rabbitmq_channel *channel)
{
	struct rabbitmq_stream *stream = stream_of(channel);
	amqp_table_entry_t entry = {.key = amqp_cstring_bytes(OFFSET), .value = place_of(stream)};
	amqp_basic_qos_t qos = {.prefetch_count = PREFETCH};
	amqp_basic_consume_t consume = {.queue = amqp_cstring_bytes(stream->name),
					.consumer_tag = amqp_cstring_bytes("mqpaas-history"),
					.arguments = {.num_entries = 1, .entries = &entry}};

	rabbitmq_channel_send(channel, AMQP_BASIC_QOS_METHOD, &qos);
	rabbitmq_channel_send(channel, AMQP_BASIC_CONSUME_METHOD, &consume);
}

static void on_method(struct rabbitmq_channel *channel, const amqp_method_t *method)
{
	struct rabbitmq_stream *stream = stream_of(channel);

	if (method->id == AMQP_BASIC_CANCEL_METHOD) {
		rabbitmq_stream_end(stream, CODE_BACKEND_ERROR); // it is deleted, or has moved
	} else if (method->id == AMQP_BASIC_CONSUME_OK_METHOD && !stream->ending) {
		stream->reading = true;
		heard(stream);
		timer_arm(stream);
	}
}

// ---- messages

static void acknowledge(struct rabbitmq_stream *stream)
{
	amqp_basic_ack_t ack = {.delivery_tag = stream->tag, .multiple = true};

	if (stream->holds || stream->ending || stream->acked == stream->tag)
		return;
	stream->acked = stream->tag;
	rabbitmq_channel_send(&stream->channel, AMQP_BASIC_ACK_METHOD, &ack);
}

void rabbitmq_stream_hold(struct rabbitmq_stream *stream, bool hold)
{
	if (stream->holds == hold)
		return;
	stream->holds = hold;
	heard(stream);
	if (stream->ending)
		return;
	timer_arm(stream);
	acknowledge(stream);
}

// False: it has none that could be one.
static bool offset_of(const amqp_basic_properties_t *properties, uint64_t *ret)
{
	int count =
		properties->_flags & AMQP_BASIC_HEADERS_FLAG ? properties->headers.num_entries : 0;

	for (int i = 0; i < count; ++i) {
		const amqp_table_entry_t *entry = &properties->headers.entries[i];

		if (entry->key.len != sizeof OFFSET - 1 ||
		    memcmp(entry->key.bytes, OFFSET, sizeof OFFSET - 1) != 0)
			continue;
		if (entry->value.kind != AMQP_FIELD_KIND_I64 || entry->value.value.i64 < 0)
			continue;
		*ret = (uint64_t)entry->value.value.i64;
		return true;
	}
	return false;
}

static bool is_before(const struct rabbitmq_stream *stream)
{
	if (stream->by_time)
		return stream->arriving.stored_ms < stream->time_ms;
	return stream->arriving_offset < stream->offset;
}

static void complete(struct rabbitmq_stream *stream)
{
	struct rabbitmq_stream_message message = {stream->arriving_offset, stream->arriving};
	bool record = stream->part == PART_RECORD;

	stream->part = PART_NONE;
	if (record && is_before(stream))
		buf_unref(stream->arriving.buf);
	else if (record)
		stream->message(stream, &message);
	heard(stream);
	acknowledge(stream);
}

static void on_head(struct rabbitmq_channel *channel, const struct rabbitmq_head *head)
{
	struct rabbitmq_stream *stream = stream_of(channel);
	int r;

	if (stream->ending)
		return;
	arriving_drop(stream);
	if (head->returned || head->got || !offset_of(head->properties, &stream->arriving_offset)) {
		rabbitmq_stream_end(stream, CODE_PROTOCOL);
		return;
	}
	r = rabbitmq_arriving_begin(head->routing_key, head->properties, head->body_size,
				    stream->partitions, MOST_BYTES, &stream->arriving);
	if (r == -ENOMEM) {
		rabbitmq_stream_end(stream, CODE_OVERLOADED);
		return;
	}
	if (r < 0)
		log_warn(stream->adapter->log, "RABBITMQ-TOO-LARGE",
			 "a message of %llu bytes in stream %s is too large to be read; it is "
			 "passed over",
			 (unsigned long long)head->body_size, stream->name);
	stream->part = r < 0 ? PART_SKIPPED : PART_RECORD;
	stream->tag = head->tag;
	stream->left = head->body_size;
	if (!stream->left)
		complete(stream);
}

static void on_body(struct rabbitmq_channel *channel, const uint8_t *data, size_t size)
{
	struct rabbitmq_stream *stream = stream_of(channel);

	if (stream->ending || stream->part == PART_NONE)
		return;
	if (size > stream->left || (stream->part == PART_RECORD &&
				    !rabbitmq_arriving_body(&stream->arriving, data, size))) {
		rabbitmq_stream_end(stream, CODE_PROTOCOL);
		return;
	}
	stream->left -= size;
	if (!stream->left)
		complete(stream);
}

void rabbitmq_stream_begin(struct rabbitmq_stream *stream)
{
	static const struct rabbitmq_channel_handlers handlers = {.opened = on_opened,
								  .closed = on_closed,
								  .method = on_method,
								  .head = on_head,
								  .body = on_body};

	loop_timer_init(&stream->timer, rabbitmq_link_loop(stream->link), on_timer);
	heard(stream);
	timer_arm(stream);
	rabbitmq_channel_open(stream->link, &stream->channel, &handlers);
}
