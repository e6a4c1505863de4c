// Checks a record as the broker will, before it is enqueued: the broker would refuse its whole
// batch.
//
// Each check is the broker's own (LogValidator, UnifiedLog), made with the last answer to
// DescribeConfigs. A check refuses only records that the broker would refuse for certain: sizes are
// those of a batch that holds nothing else, and a timestamp is compared with our clock.
//
// What it does not do: know settings that have changed since, or a clock that differs; those
// refusals are the broker's (resend.c).

#include "adapters/kafka/topic/limits.h"

#include "adapters/kafka/topic/message.h"

#define FOR_EVER   UINT64_MAX
#define BATCH_HEAD 61u                                    // of record batch, magic 2
#define HEAD_MOST  (BATCH_HEAD + 64u + ENVELOPE_REST_MAX) // that a batch has beside key and body

// ---- reading

void kafka_limits_init(struct kafka_limits *limits)
{
	*limits = (struct kafka_limits){.before_ms = FOR_EVER,
					.record_bytes = FOR_EVER,
					.segment_bytes = FOR_EVER,
					.retention_ms = FOR_EVER,
					.retention_bytes = FOR_EVER};
}

// Kafka's numbers are signed 64 bits; -1, and the greatest, mean that there is no limit.
static uint64_t number_of(const char *value)
{
	long long number = strtoll(value, NULL, 10);

	return number < 0 || number == INT64_MAX ? FOR_EVER : (uint64_t)number;
}

void kafka_limits_note(struct kafka_limits *limits, const char *name, const char *value)
{
	const struct {
		const char *name;
		uint64_t *number;
	} numbers[] = {
		{"max.message.bytes", &limits->record_bytes},
		{"segment.bytes", &limits->segment_bytes},
		{"retention.ms", &limits->retention_ms},
		{"retention.bytes", &limits->retention_bytes},
	};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); ++i)
		if (strcmp(numbers[i].name, name) == 0)
			*numbers[i].number = number_of(value);
	// The second is the name until 3.5, which holds until 3.9 where the first is not set.
	if (strcmp(name, "message.timestamp.before.max.ms") == 0 ||
	    strcmp(name, "message.timestamp.difference.max.ms") == 0) {
		limits->before_ms = MIN(limits->before_ms, number_of(value));
	} else if (strcmp(name, "cleanup.policy") == 0) {
		limits->key_needed = strstr(value, "compact") != NULL;
	} else if (strcmp(name, "message.timestamp.type") == 0) {
		limits->broker_time = strcmp(value, "LogAppendTime") == 0;
	}
}

#define LOAD(member)      __atomic_load_n(&limits->member, __ATOMIC_RELAXED)
#define STORE(to, member) __atomic_store_n(&(to)->member, next->member, __ATOMIC_RELAXED)

void kafka_limits_store(struct kafka_limits *limits, const struct kafka_limits *next)
{
	STORE(limits, before_ms);
	STORE(limits, record_bytes);
	STORE(limits, segment_bytes);
	STORE(limits, retention_ms);
	STORE(limits, retention_bytes);
	STORE(limits, key_needed);
	STORE(limits, broker_time);
}

uint64_t kafka_limits_batch_bytes(const struct kafka_limits *limits)
{
	uint64_t batch = LOAD(record_bytes), segment = LOAD(segment_bytes);

	return MIN(batch, segment);
}

// ---- sizes

static uint64_t varint_size(uint64_t value)
{
	uint64_t zigzag = value << 1, size = 1;

	while (zigzag >= 0x80) {
		zigzag >>= 7;
		++size;
	}
	return size;
}

static uint64_t bytes_size(uint64_t size)
{
	return varint_size(size) + size;
}

static uint64_t headers_size(const struct record_view *view, bool native)
{
	struct record_header header;
	uint64_t size = 0, envelope = envelope_size(view, native);
	size_t cursor = 0;

	if (envelope)
		size += bytes_size(sizeof ENVELOPE_HEADER - 1) + bytes_size(envelope);
	while (record_header_next(view, &cursor, &header))
		size += bytes_size(header.name.size) + bytes_size(header.value.size);
	return varint_size(view->header_count + 1u) + size;
}

// The size of a record in a batch of its own, in Kafka's format (magic 2, uncompressed).
static uint64_t batch_of_one(const uint8_t *record, bool native)
{
	struct record_view view;
	uint64_t size;

	record_read(record, &view);
	// Attributes, time delta and offset delta are one byte each in a batch of one.
	size = 3 + bytes_size(view.key.size) + bytes_size(view.body.size) +
	       headers_size(&view, native);
	return BATCH_HEAD + varint_size(size) + size;
}

// ---- checking

// The timestamp it will get: never later than now.
static bool is_too_old(const struct kafka_limits *limits, const uint8_t *record, int64_t now_ms)
{
	int64_t created_ms = MAX((int64_t)le64_get(record + 24), 1);
	uint64_t before_ms = LOAD(before_ms);

	return before_ms != FOR_EVER && !LOAD(broker_time) && created_ms < now_ms &&
	       (uint64_t)(now_ms - created_ms) > before_ms;
}

static bool is_too_large(const struct kafka_limits *limits, const uint8_t *record, bool native)
{
	uint64_t most = kafka_limits_batch_bytes(limits), size = record_size(record);

	// A header takes at least 6 bytes on the wire, and at most 2 more in Kafka.
	return size + size / 3 + HEAD_MOST > most && batch_of_one(record, native) > most;
}

rd_kafka_resp_err_t kafka_limits_check(const struct kafka_limits *limits, const uint8_t *record,
				       bool native, int64_t now_ms)
{
	if (LOAD(key_needed) && !(record_flags(record) & RECORD_KEY))
		return RD_KAFKA_RESP_ERR_INVALID_RECORD;
	if (is_too_old(limits, record, now_ms))
		return RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP;
	if (is_too_large(limits, record, native))
		return RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}
