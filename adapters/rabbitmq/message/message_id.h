// The id of a message as the property message-id: 32 hexadecimal digits, and before them `mqp-`
// where no envelope says the id. Pure.
#pragma once

#include "adapters/rabbitmq/link/library.h"
#include "core/wire/record.h"

#define RABBITMQ_MESSAGE_ID_MAX (4u + 2 * RECORD_ID_SIZE)

// Its size is told.
size_t rabbitmq_message_id_write(const uint8_t id[RECORD_ID_SIZE], bool enveloped,
				 uint8_t room[RABBITMQ_MESSAGE_ID_MAX]);
// False: it is another client's.
bool rabbitmq_message_id_read(amqp_bytes_t text, bool *ret_enveloped, uint8_t ret[RECORD_ID_SIZE]);
