// A wire record as an AMQP message and back (docs/adapters/rabbitmq-internals.md, Mapping). Pure
// but for memory.
//
// Body, key and user headers travel as themselves; what AMQP has no place for is in one header,
// `mqp`, the envelope of adapters/envelope.h.
#pragma once

#include "adapters/rabbitmq/link/library.h"
#include "core/base/buf.h"
#include "core/wire/record.h"

#include <stdbool.h>

#define RABBITMQ_MESSAGE_HEADER "mqp"
#define RABBITMQ_COPY_HEADER    "mqp-copy"

// What is said of a copy, in its second header.
struct rabbitmq_copy {
	uint32_t attempts, partition;
	uint64_t due_ms;
	int64_t stored_ms;
	bool renewal;
};

// What a record becomes. Slices point into the record; tables and small values lie in `pool`.
struct rabbitmq_message {
	amqp_bytes_t routing_key, body;
	amqp_basic_properties_t properties;
};

// Room for the headers of one message after the other.
struct rabbitmq_room;
struct rabbitmq_room *rabbitmq_room_new(void);
void rabbitmq_room_free(struct rabbitmq_room *room); // accepts NULL

// Good until the next message is made in the room. `copy` NULL: a message to a topic. -ENOMEM, or
// -EINVAL: AMQP cannot carry it (*ret_why is a static sentence).
int rabbitmq_message_make(struct rabbitmq_room *room, const uint8_t *record, bool native,
			  uint32_t partition, int64_t accepted_ms, const struct rabbitmq_copy *copy,
			  struct rabbitmq_message *ret, const char **ret_why);

// A message that arrives becomes a record in a buffer of its own: the head first, then the body.
struct rabbitmq_arriving {
	struct buf *buf; // of which the record is all
	uint8_t *body;   // where the next piece of the body goes
	uint32_t partition;
	int64_t stored_ms;
	bool anonymous; // it carries no envelope of ours: its id was made now
	bool is_copy;
	struct rabbitmq_copy copy; // when it is one
};
// Measures and writes all but the body. -ENOMEM; -EMSGSIZE: larger than `most`. `partitions`: of
// the topic; a native message gets that of its key.
int rabbitmq_message_begin(amqp_bytes_t routing_key, const amqp_basic_properties_t *properties,
			   uint64_t body_size, uint32_t partitions, uint32_t most,
			   struct rabbitmq_arriving *ret);
// The next piece; false: more than was announced.
bool rabbitmq_message_body(struct rabbitmq_arriving *arriving, const uint8_t *data, size_t size);
