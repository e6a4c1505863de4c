// A wire record as a Kafka message and back (docs/adapters/kafka.md, Mapping). Pure.
//
// Key, body and user headers travel as themselves; what Kafka has no place for is in one header,
// `mqp`, the first of them. A message of a native topic has it only when something would be lost
// that it asked for (due time, time to live, priority, tag, trace).
#pragma once

#include "core/wire/record.h"

#include <librdkafka/rdkafka.h>

#define MESSAGE_HEADER "mqp"

// Whether the record needs headers at all. Cheap: most records of native topics do not.
bool message_has_headers(const uint8_t *record, bool native);
// The headers of a record that has some, to be given away with the message. NULL: no memory.
rd_kafka_headers_t *message_headers(const struct record_view *view, bool native);

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
