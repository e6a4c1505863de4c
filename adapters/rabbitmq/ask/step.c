// Makes a method of AMQP of a step, and reads what the broker answers. No state.
//
// Everything is declared durable. A quorum queue has no limit of deliveries (x-delivery-limit -1)
// from 4.0 on, where one without the argument has a limit of 20. Before 4.0 there is none by
// itself, and -1 must not be said: the broker takes it for a limit that every message which comes
// back has passed, and drops the message. A level hands on what is over by the default exchange,
// at least once.

#include "adapters/rabbitmq/ask/step.h"

#include "core/base/util.h"

#include <stdio.h>

#define ENTRIES           8
#define SEGMENT_LEAST     (1ull << 20)
#define SEGMENT_MOST      (64ull << 20)
#define SEGMENTS_OF_BYTES 4u // a stream gives up whole segments: about this number is kept
#define AGE_TEXT          32

static amqp_table_entry_t number_entry(const char *key, int64_t value)
{
	return (amqp_table_entry_t){
		.key = amqp_cstring_bytes(key),
		.value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = value},
	};
}

static amqp_table_entry_t text_entry(const char *key, const char *value)
{
	return (amqp_table_entry_t){
		.key = amqp_cstring_bytes(key),
		.value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(value)},
	};
}

static int level_entries(const struct rabbitmq_shape *shape, amqp_table_entry_t *entries)
{
	int count = 0;

	entries[count++] = number_entry("x-message-ttl", (int64_t)shape->ttl_ms);
	entries[count++] = text_entry("x-overflow", "reject-publish");
	entries[count++] = text_entry("x-dead-letter-strategy", "at-least-once");
	entries[count++] = text_entry("x-dead-letter-exchange", "");
	entries[count++] = text_entry("x-dead-letter-routing-key", shape->dead_letter_key);
	return count;
}

static bool is_quorum(const struct rabbitmq_shape *shape)
{
	return strcmp(shape->kind, "quorum") == 0;
}

static bool is_stream(const struct rabbitmq_shape *shape)
{
	return strcmp(shape->kind, "stream") == 0;
}

// A segment that is written to is never given up, so it is small where little is kept.
static int64_t segment_bytes(const struct rabbitmq_shape *shape)
{
	uint64_t bytes = shape->keep_bytes ? shape->keep_bytes / SEGMENTS_OF_BYTES : SEGMENT_MOST;

	return (int64_t)MIN(MAX(bytes, SEGMENT_LEAST), SEGMENT_MOST);
}

// Seconds, rounded up, because the broker has no shorter unit.
static int stream_entries(const struct rabbitmq_shape *shape, char age[AGE_TEXT],
			  amqp_table_entry_t *entries)
{
	int count = 0;

	entries[count++] = number_entry("x-stream-max-segment-size-bytes", segment_bytes(shape));
	if (shape->replication)
		entries[count++] =
			number_entry("x-initial-cluster-size", (int64_t)shape->replication);
	if (shape->keep_bytes)
		entries[count++] = number_entry(
			"x-max-length-bytes", (int64_t)MIN(shape->keep_bytes, (uint64_t)INT64_MAX));
	snprintf(age, AGE_TEXT, "%llus",
		 (unsigned long long)(shape->keep_ms / 1000 + (shape->keep_ms % 1000 ? 1 : 0)));
	if (shape->keep_ms)
		entries[count++] = text_entry("x-max-age", age);
	return count;
}

static amqp_table_t queue_arguments(const struct rabbitmq_shape *shape, bool endless,
				    char age[AGE_TEXT], amqp_table_entry_t entries[ENTRIES])
{
	int count = 0;

	entries[count++] = text_entry("x-queue-type", shape->kind);
	if (is_stream(shape))
		count += stream_entries(shape, age, &entries[count]);
	if (is_quorum(shape) && shape->replication)
		entries[count++] =
			number_entry("x-quorum-initial-group-size", (int64_t)shape->replication);
	if (is_quorum(shape) && endless)
		entries[count++] = number_entry("x-delivery-limit", -1);
	if (shape->ttl_ms)
		count += level_entries(shape, &entries[count]);
	assert(count <= ENTRIES);
	return (amqp_table_t){.num_entries = count, .entries = entries};
}

static bool exchange_send(struct rabbitmq_channel *channel, const struct rabbitmq_step *step)
{
	amqp_exchange_declare_t declare = {
		.exchange = amqp_cstring_bytes(step->name),
		.type = amqp_cstring_bytes(step->shape.kind ? step->shape.kind : "fanout"),
		.passive = step->verb == RABBITMQ_EXCHANGE_LOOK,
		.durable = true,
		.internal = step->shape.internal,
	};

	return rabbitmq_channel_send(channel, AMQP_EXCHANGE_DECLARE_METHOD, &declare);
}

static bool queue_send(struct rabbitmq_channel *channel, const struct rabbitmq_step *step,
		       bool endless)
{
	amqp_table_entry_t entries[ENTRIES];
	char age[AGE_TEXT];
	amqp_queue_declare_t declare = {
		.queue = amqp_cstring_bytes(step->name),
		.passive = step->verb == RABBITMQ_QUEUE_LOOK,
		.durable = true,
	};

	if (!declare.passive)
		declare.arguments = queue_arguments(&step->shape, endless, age, entries);
	return rabbitmq_channel_send(channel, AMQP_QUEUE_DECLARE_METHOD, &declare);
}

// The key is that of an exchange which looks at it: all messages, for one of kind topic.
static bool binding_send(struct rabbitmq_channel *channel, const struct rabbitmq_step *step)
{
	amqp_bytes_t queue = amqp_cstring_bytes(step->name),
		     exchange = amqp_cstring_bytes(step->exchange), all = amqp_cstring_bytes("#");
	amqp_queue_bind_t bind = {.queue = queue, .exchange = exchange, .routing_key = all};
	amqp_queue_unbind_t unbind = {.queue = queue, .exchange = exchange, .routing_key = all};

	return step->verb == RABBITMQ_BIND
		       ? rabbitmq_channel_send(channel, AMQP_QUEUE_BIND_METHOD, &bind)
		       : rabbitmq_channel_send(channel, AMQP_QUEUE_UNBIND_METHOD, &unbind);
}

bool rabbitmq_step_send(struct rabbitmq_channel *channel, const struct rabbitmq_step *step,
			bool endless)
{
	amqp_bytes_t name = amqp_cstring_bytes(step->name);
	amqp_exchange_delete_t exchange_delete = {.exchange = name};
	amqp_queue_delete_t queue_delete = {.queue = name};
	amqp_queue_purge_t purge = {.queue = name};

	switch ((enum rabbitmq_verb)step->verb) {
	case RABBITMQ_EXCHANGE_LOOK:
	case RABBITMQ_EXCHANGE_DECLARE: return exchange_send(channel, step);
	case RABBITMQ_EXCHANGE_DELETE:
		return rabbitmq_channel_send(channel, AMQP_EXCHANGE_DELETE_METHOD,
					     &exchange_delete);
	case RABBITMQ_QUEUE_LOOK:
	case RABBITMQ_QUEUE_DECLARE: return queue_send(channel, step, endless);
	case RABBITMQ_QUEUE_DELETE:
		return rabbitmq_channel_send(channel, AMQP_QUEUE_DELETE_METHOD, &queue_delete);
	case RABBITMQ_QUEUE_PURGE:
		return rabbitmq_channel_send(channel, AMQP_QUEUE_PURGE_METHOD, &purge);
	case RABBITMQ_BIND:
	case RABBITMQ_UNBIND: return binding_send(channel, step);
	}
	assert(!"a verb without a method");
	return false;
}

// ---- answers

static amqp_method_number_t answer_of(uint8_t verb)
{
	static const amqp_method_number_t answers[] = {
		[RABBITMQ_EXCHANGE_LOOK] = AMQP_EXCHANGE_DECLARE_OK_METHOD,
		[RABBITMQ_EXCHANGE_DECLARE] = AMQP_EXCHANGE_DECLARE_OK_METHOD,
		[RABBITMQ_EXCHANGE_DELETE] = AMQP_EXCHANGE_DELETE_OK_METHOD,
		[RABBITMQ_QUEUE_LOOK] = AMQP_QUEUE_DECLARE_OK_METHOD,
		[RABBITMQ_QUEUE_DECLARE] = AMQP_QUEUE_DECLARE_OK_METHOD,
		[RABBITMQ_QUEUE_DELETE] = AMQP_QUEUE_DELETE_OK_METHOD,
		[RABBITMQ_QUEUE_PURGE] = AMQP_QUEUE_PURGE_OK_METHOD,
		[RABBITMQ_BIND] = AMQP_QUEUE_BIND_OK_METHOD,
		[RABBITMQ_UNBIND] = AMQP_QUEUE_UNBIND_OK_METHOD,
	};

	assert(verb < ARRAY_SIZE(answers));
	return answers[verb];
}

bool rabbitmq_step_answered(struct rabbitmq_step *step, const amqp_method_t *method)
{
	if (method->id != answer_of(step->verb))
		return false;
	if (method->id == AMQP_QUEUE_DECLARE_OK_METHOD) {
		const amqp_queue_declare_ok_t *declared = method->decoded;

		step->messages = declared->message_count;
		step->consumers = declared->consumer_count;
	} else if (method->id == AMQP_QUEUE_PURGE_OK_METHOD) {
		step->messages = ((const amqp_queue_purge_ok_t *)method->decoded)->message_count;
	} else if (method->id == AMQP_QUEUE_DELETE_OK_METHOD) {
		step->messages = ((const amqp_queue_delete_ok_t *)method->decoded)->message_count;
	}
	return true;
}

enum code rabbitmq_step_refusal(uint16_t reply)
{
	switch (reply) {
	case 0:
	case AMQP_CONNECTION_FORCED: return CODE_OK;
	case AMQP_ACCESS_REFUSED: return CODE_FORBIDDEN;
	case AMQP_NOT_FOUND: return CODE_NOT_FOUND;
	case AMQP_RESOURCE_LOCKED:
	case AMQP_PRECONDITION_FAILED: return CODE_CONFLICT;
	}
	return CODE_BACKEND_ERROR;
}

bool rabbitmq_step_endless(const char *version)
{
	return strtoul(version, NULL, 10) >= 4;
}
