// The value of an AMQP header as bytes: what native clients write with types becomes text
// (docs/adapters/rabbitmq-internals.md, Mapping). Pure.
#pragma once

#include "adapters/rabbitmq/link/library.h"

#include <stddef.h>
#include <stdint.h>

// Its bytes are told; those that `room` has place for are written. NULL: only told. Void: 0.
size_t rabbitmq_field_text(const amqp_field_value_t *value, uint8_t *room, size_t size);
