// A wire record as an AMQP message (docs/adapters/rabbitmq-internals.md, Mapping); arriving.h is
// the way back. Pure but for memory.
//
// Body, key and user headers travel as themselves; what AMQP has no place for is in headers of
// ours, first of all `mqp`, the envelope of adapters/envelope.h.
#pragma once

#include "adapters/envelope.h"
#include "adapters/rabbitmq/link/library.h"
#include "adapters/rabbitmq/message/copy.h"

#define RABBITMQ_COPY_HEADER    "mqp-copy"
#define RABBITMQ_KEY_HEADER     "mqp-key"     // a key that is no routing key
#define RABBITMQ_HEADERS_HEADER "mqp-headers" // user headers that a table would not give back
#define RABBITMQ_BODY_HEADER    "mqp-body"    // there is no body: not even an empty one

// What a record becomes. Slices point into the record; tables and small values lie in the room.
struct rabbitmq_message {
	amqp_bytes_t routing_key, body;
	amqp_basic_properties_t properties;
	size_t head_bytes; // of the frame with the properties: at most what the connection takes
};

// Room for the headers of one message after the other.
struct rabbitmq_message_room;
struct rabbitmq_message_room *rabbitmq_message_room_new(void);       // NULL: no memory
void rabbitmq_message_room_free(struct rabbitmq_message_room *room); // accepts NULL

// Good until the next message is made in the room. `placed`: the partition that was chosen;
// ENVELOPE_NOT_PLACED: the topic has one. `copy` NULL: a message to a topic; else the routing key
// is the caller's to set. -ENOMEM.
int rabbitmq_message_make(struct rabbitmq_message_room *room, const uint8_t *record, bool native,
			  uint32_t placed, int64_t accepted_ms, const struct rabbitmq_copy *copy,
			  struct rabbitmq_message *ret);
