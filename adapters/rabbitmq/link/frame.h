// Frames of AMQP 0-9-1: cut out of a stream, checked before rabbitmq-c decodes them, and encoded.
// Pure but for the pool's memory.
#pragma once

#include "adapters/rabbitmq/link/library.h"

#include <stdbool.h>

#define RABBITMQ_FRAME_EXTRA 8u // bytes of a frame around its payload
#define RABBITMQ_FRAME_DEPTH 16 // tables inside of each other that are read

struct rabbitmq_frame {
	uint8_t type; // AMQP_FRAME_METHOD, …
	uint16_t channel;
	const uint8_t *payload; // borrowed from the stream
	uint32_t size;
};

// The first frame of these bytes and how many it takes; 0: it is not complete; -1: no frame, or one
// that is longer than `most` with what is around it (*ret_why is a static sentence).
int rabbitmq_frame_next(const uint8_t *data, size_t size, uint32_t most, struct rabbitmq_frame *ret,
			const char **ret_why);

// Decodes; tables lie in the pool, texts in the stream. False: nothing that a broker may send.
bool rabbitmq_frame_method(const struct rabbitmq_frame *frame, amqp_pool_t *pool,
			   amqp_method_t *ret, const char **ret_why);
bool rabbitmq_frame_content(const struct rabbitmq_frame *frame, amqp_pool_t *pool,
			    uint64_t *ret_body_size, amqp_basic_properties_t **ret,
			    const char **ret_why);

// Encodes into the room. Bytes of the frame; 0: it does not fit, or cannot be encoded.
size_t rabbitmq_frame_put_method(uint8_t *room, size_t size, uint16_t channel,
				 amqp_method_number_t id, void *decoded);
size_t rabbitmq_frame_put_content(uint8_t *room, size_t size, uint16_t channel, uint64_t body_size,
				  const amqp_basic_properties_t *properties);
size_t rabbitmq_frame_put_body(uint8_t *room, size_t size, uint16_t channel, const uint8_t *data,
			       size_t data_size);
size_t rabbitmq_frame_put_heartbeat(uint8_t *room, size_t size);
