// A wire record as a Kafka message and back (docs/adapters/kafka-internals.md, Mapping). Pure.
//
// Key, body and user headers travel as themselves; what Kafka has no place for is in the envelope
// (adapters/envelope.h), the first of the headers.
#pragma once

#include "adapters/envelope.h"

#include <librdkafka/rdkafka.h>

// Whether the record needs headers at all. Cheap: most records of native topics do not.
bool message_has_headers(const uint8_t *record, bool native);
// The headers of a record that has some, to be given away with the message; it is taken at
// `accepted_ms`, by the wall clock. NULL: no memory.
rd_kafka_headers_t *message_headers(const struct record_view *view, bool native,
				    int64_t accepted_ms);

// What a Kafka message becomes.
struct message_in {
	const char *physical; // with partition and offset: the id of a message that has none
	uint32_t partition;
	uint64_t offset;
	int64_t timestamp_ms;        // of the message; -1: it has none
	bool appended;               // that is when the broker stored it; else its producer says so
	struct slice key, body;      // data NULL: absent
	rd_kafka_headers_t *headers; // borrowed; NULL: none
};

// What is found out about a message once, to be used twice.
struct message_plan {
	uint8_t rest[ENVELOPE_REST_MAX]; // its record without key, body and headers
	uint64_t header_bytes;
	uint16_t header_count;
	uint32_t size;     // of the record
	int64_t stored_ms; // -1: unknown
};
bool message_measure(const struct message_in *message,
		     struct message_plan *ret); // false: too large
void message_record_write(const struct message_in *message, const struct message_plan *plan,
			  uint8_t *room);
