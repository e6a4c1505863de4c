// An AMQP message that arrives becomes a wire record in a buffer of its own: the head first, then
// the body (docs/adapters/rabbitmq-internals.md, Mapping). Pure but for memory, and for the id and
// the time of a message that has none.
#pragma once

#include "adapters/rabbitmq/link/library.h"
#include "adapters/rabbitmq/message/copy.h"
#include "core/wire/record.h"

struct rabbitmq_arriving {
	struct buf *buf; // of which the record is all; the caller's
	uint8_t *body;   // where the next piece of the body goes
	uint32_t partition;
	int64_t stored_ms;
	bool anonymous; // it carries no id of ours: its id was made now
	bool is_copy;
	struct rabbitmq_copy copy; // when it is one
};

// Measures and writes all but the body. -ENOMEM; -EMSGSIZE: larger than `most`. `partitions`: of
// the topic; a native message gets that of its key.
int rabbitmq_arriving_begin(amqp_bytes_t routing_key, const amqp_basic_properties_t *properties,
			    uint64_t body_size, uint32_t partitions, uint32_t most,
			    struct rabbitmq_arriving *ret);
// The next piece; false: more than was announced.
bool rabbitmq_arriving_body(struct rabbitmq_arriving *arriving, const uint8_t *data, size_t size);
