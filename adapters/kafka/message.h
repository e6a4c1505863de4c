// A wire record as a Kafka message and back (docs/adapters/kafka.md, Mapping). Pure.
//
// Key, body and user headers travel as themselves; what Kafka has no place for is in one header,
// `mqp`, unless the topic is native.
#pragma once

#include "core/wire/record.h"

#include <librdkafka/rdkafka.h>

#define MESSAGE_HEADER "mqp"

// The headers of a record, to be given away with the message. NULL: it needs none (native, without
// headers of its own); -ENOMEM.
int message_headers(const struct record_view *view, bool native, rd_kafka_headers_t **ret);

// What a Kafka message becomes.
struct message_in {
	const char *physical; // with partition and offset: the id of a message that has none
	uint32_t partition;
	uint64_t offset;
	int64_t timestamp_ms;        // of the message; -1: it has none
	struct slice key, body;      // data NULL: absent
	rd_kafka_headers_t *headers; // borrowed; NULL: none
};
// Bytes of its record; 0: it cannot be one (too large).
uint64_t message_record_size(const struct message_in *message);
void message_record_write(const struct message_in *message, uint8_t *room);
