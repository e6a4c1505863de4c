// Reads one partition from one position on into the chunks of a ring.
//
// Reading stops by itself: a stream that is STREAM_AHEAD bytes before its furthest reader takes
// nothing from its queue any more, and librdkafka, whose queue is bounded, asks for no more. When
// the queue is empty again librdkafka up to 2.1 may go on sleeping for a second; a seek to the
// position where it is anyway wakes it.
//
// Positions without a message (markers of transactions, aborted and compacted messages) are
// skipped: the next message shows that they are empty, and at the end of the partition its end
// does.
//
// Invariant: `next` only rises, and the ring has all messages up to it. What it does not do: choose
// where to read, or wait.

#include "adapters/kafka/read/stream.h"

#include "adapters/kafka/client/error.h"
#include "core/base/log.h"

#include <errno.h>

#define STREAM_AHEAD (1u << 20) // bytes
#define BATCH        512        // messages of one turn
#define CHUNK_LEAST  (16u << 10)
#define CHUNK_MOST   (256u << 10)
#define MESSAGE_MORE 160u // a guess what a record needs beyond key and body

// ---- the chunk that is being filled

// A chunk that is being filled: entries from its front, records from its end, so that neither needs
// to know how many will come. What is filled in may be read while more is filled in.

static void builder_end(struct chunk_builder *builder)
{
	struct buf *buf = builder->chunk ? builder->chunk->buf : NULL;

	if (buf && !builder->shown)
		log_ring_chunk_free(builder->chunk);
	buf_unref(buf);
	*builder = (struct chunk_builder){0};
}

static bool builder_begin(struct chunk_builder *builder, uint64_t offset, size_t room)
{
	builder_end(builder);
	builder->chunk = log_ring_chunk_new(offset, room);
	if (!builder->chunk)
		return false;
	buf_ref(builder->chunk->buf);
	builder->floor = log_ring_chunk_room_end(builder->chunk);
	return true;
}

static bool builder_put(struct chunk_builder *builder, const struct message_in *message,
			const struct message_plan *plan)
{
	struct log_entry *entry = &builder->chunk->entries[builder->count];
	const uint8_t *top = (const uint8_t *)entry;

	if ((uint64_t)(builder->floor - top) < (uint64_t)plan->size + sizeof *entry)
		return false;
	builder->floor -= plan->size;
	message_record_write(message, plan, builder->floor);
	*entry = (struct log_entry){message->offset, MAX(plan->stored_ms, 0), builder->floor,
				    plan->size};
	++builder->count;
	return true;
}

static void builder_show(struct chunk_builder *builder, struct log_rings *rings,
			 struct log_ring *ring, uint64_t next)
{
	if (builder->count && !builder->shown) {
		log_ring_add(rings, ring, builder->chunk, next);
		builder->shown = true;
	}
	if (builder->count)
		builder->chunk->count = builder->count;
	ring->next = next;
}

// ---- from start to stop

static void on_arrival(rd_kafka_t *handle, void *ctx)
{
	struct stream *stream = ctx;

	stream->config.arrived(stream);
}

static int consume_start(struct stream *stream, int64_t offset)
{
	if (rd_kafka_consume_start_queue(stream->topic, (int32_t)stream->config.partition, offset,
					 stream->queue) == 0)
		return 0;
	log_warn(NULL, "KAFKA-READ", "topic %s, partition %u cannot be read: %s",
		 stream->config.physical, stream->config.partition,
		 rd_kafka_err2str(rd_kafka_last_error()));
	return -EIO;
}

int stream_start(const struct stream_config *config, struct stream **ret)
{
	struct stream *stream = calloc(1, sizeof *stream);

	if (!stream)
		return -ENOMEM;
	stream->config = *config;
	stream->next = stream->furthest = config->offset;
	list_init(&stream->in_ready);
	log_ring_clear(config->rings, &stream->ring, config->offset);
	stream->topic = rd_kafka_topic_new(config->handle, config->physical, NULL);
	if (!stream->topic) {
		free(stream);
		return -EIO;
	}
	stream->queue = rd_kafka_queue_new(config->handle);
	rd_kafka_queue_cb_event_enable(stream->queue, on_arrival, stream);
	if (consume_start(stream, (int64_t)config->offset) < 0) {
		stream_stop(stream);
		return -EIO;
	}
	*ret = stream;
	return 0;
}

void stream_mute(struct stream *stream)
{
	rd_kafka_queue_cb_event_enable(stream->queue, NULL, NULL);
}

void stream_stop(struct stream *stream)
{
	stream_mute(stream);
	rd_kafka_consume_stop(stream->topic, (int32_t)stream->config.partition);
	rd_kafka_queue_destroy(stream->queue);
	rd_kafka_topic_destroy(stream->topic);
	builder_end(&stream->builder);
	pthread_mutex_lock(stream->config.lock);
	log_ring_clear(stream->config.rings, &stream->ring, 0);
	pthread_mutex_unlock(stream->config.lock);
	free(stream);
}

// ---- builder

static void stream_show(struct stream *stream)
{
	pthread_mutex_lock(stream->config.lock);
	builder_show(&stream->builder, stream->config.rings, &stream->ring, stream->next);
	pthread_mutex_unlock(stream->config.lock);
}

// Room for what is left of the batch, as far as one chunk goes.
static size_t room_for(rd_kafka_message_t *const *messages, size_t count, uint64_t record_size)
{
	uint64_t room = 0;

	for (size_t i = 0; i < count && room < CHUNK_MOST; ++i)
		room += messages[i]->len + messages[i]->key_len + MESSAGE_MORE +
			sizeof(struct log_entry);
	room = MAX(MIN(room, (uint64_t)CHUNK_MOST), (uint64_t)CHUNK_LEAST);
	return MAX(room, record_size + sizeof(struct log_entry));
}

static void message_put(struct stream *stream, rd_kafka_message_t *const *messages, size_t count)
{
	const rd_kafka_message_t *first = messages[0];
	rd_kafka_timestamp_type_t type;
	struct message_in message = {
		.physical = stream->config.physical,
		.partition = stream->config.partition,
		.offset = (uint64_t)first->offset,
		.timestamp_ms = rd_kafka_message_timestamp(first, &type),
		.key = {first->key, first->key_len},
		.body = {first->payload, first->len},
	};
	struct message_plan plan;

	if (message.offset < stream->next)
		return;
	message.appended = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
	rd_kafka_message_headers(first, &message.headers);
	if (!message_measure(&message, &plan)) {
		log_warn(NULL, "KAFKA-READ",
			 "topic %s, partition %u: the message at %llu is too large and left out",
			 stream->config.physical, message.partition,
			 (unsigned long long)message.offset);
	} else if (!stream->builder.chunk || !builder_put(&stream->builder, &message, &plan)) {
		stream_show(stream);
		if (!builder_begin(&stream->builder, stream->next,
				   room_for(messages, count, plan.size))) {
			stream->code = CODE_OVERLOADED;
			return;
		}
		builder_put(&stream->builder, &message, &plan);
	}
	stream->next = message.offset + 1;
	stream->ended = false;
}

// ---- what is not a message

// Where it was to begin is outside the log: begins with what there is.
static void stream_restart_at_first(struct stream *stream)
{
	if (stream->from_first) {
		stream->code = CODE_BACKEND_DOWN;
		return;
	}
	stream->from_first = true;
	rd_kafka_consume_stop(stream->topic, (int32_t)stream->config.partition);
	if (consume_start(stream, RD_KAFKA_OFFSET_BEGINNING) < 0)
		stream->code = CODE_BACKEND_DOWN;
}

// The log begins at or before `offset`, which is the first thing heard of it.
static void found_first(struct stream *stream, uint64_t offset)
{
	stream->from_first = false;
	if (offset > stream->next) {
		stream->truncated = true;
		stream->first = offset;
	} else {
		stream->code = CODE_BACKEND_DOWN; // it ends before: what was known is lost
	}
}

// What lies between was not deleted, as that would have been told as an offset out of range; it
// never held a message, or holds it no more.
static void hole_note(struct stream *stream, uint64_t offset)
{
	stream->holes = stream->holes || offset > stream->next;
}

static void on_error(struct stream *stream, const rd_kafka_message_t *message)
{
	switch ((int)message->err) {
	case RD_KAFKA_RESP_ERR__PARTITION_EOF:
		if (stream->from_first)
			found_first(stream, (uint64_t)message->offset);
		else
			hole_note(stream, (uint64_t)message->offset);
		stream->next = MAX(stream->next, (uint64_t)message->offset);
		stream->ended = true;
		return;
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
	case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE: stream_restart_at_first(stream); return;
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: stream->code = CODE_BACKEND_DOWN; return;
	default: break;
	}
	if (kafka_error_is_transient(message->err))
		return; // librdkafka goes on by itself
	stream->code = kafka_error_code(message->err);
	log_warn(NULL, "KAFKA-READ", "topic %s, partition %u: %s", stream->config.physical,
		 stream->config.partition, rd_kafka_message_errstr(message));
}

static void messages_take(struct stream *stream, rd_kafka_message_t *const *messages, size_t count)
{
	if (stream->code != CODE_OK)
		return;
	if (messages[0]->err) {
		on_error(stream, messages[0]);
		return;
	}
	if (stream->from_first)
		found_first(stream, (uint64_t)messages[0]->offset);
	else
		hole_note(stream, (uint64_t)messages[0]->offset);
	if (stream->code == CODE_OK)
		message_put(stream, messages, count);
}

// ---- serving

static bool is_held(struct stream *stream)
{
	bool held;

	pthread_mutex_lock(stream->config.lock);
	held = stream->held =
		log_ring_bytes_behind(&stream->ring, stream->furthest) >= STREAM_AHEAD;
	pthread_mutex_unlock(stream->config.lock);
	return held;
}

static void wake_up(struct stream *stream, rd_kafka_message_t *const *messages, size_t count)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; ++i)
		bytes += messages[i]->len;
	if (count == BATCH &&
	    bytes / count * rd_kafka_queue_length(stream->queue) >= KAFKA_QUEUE_BYTES / 4 * 3)
		stream->full = true;
	if (count == BATCH || !stream->full)
		return;
	stream->full = false;
	rd_kafka_seek(stream->topic, (int32_t)stream->config.partition, (int64_t)stream->next, 0);
}

bool stream_serve(struct stream *stream)
{
	rd_kafka_message_t *messages[BATCH];
	const struct chunk_builder *builder = &stream->builder;
	ssize_t count;

	stream->more = true;
	if (stream->code != CODE_OK || is_held(stream))
		return false;
	if (builder->shown && builder->chunk->ring != &stream->ring)
		builder_end(&stream->builder); // it had to make room for others
	count = rd_kafka_consume_batch_queue(stream->queue, 0, messages, BATCH);
	stream->more = count == BATCH;
	for (ssize_t i = 0; i < count; ++i)
		messages_take(stream, messages + i, (size_t)(count - i));
	if (count > 0)
		stream_show(stream);
	if (count >= 0 && stream->code == CODE_OK)
		wake_up(stream, messages, (size_t)count);
	for (ssize_t i = 0; i < count; ++i)
		rd_kafka_message_destroy(messages[i]);
	return count > 0;
}

bool stream_reach(struct stream *stream, uint64_t offset)
{
	stream->furthest = MAX(stream->furthest, offset);
	if (!stream->held ||
	    log_ring_bytes_behind(&stream->ring, stream->furthest) >= STREAM_AHEAD / 2)
		return false;
	stream->held = false;
	return true;
}
