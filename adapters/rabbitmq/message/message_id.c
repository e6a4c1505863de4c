// Writes and reads the text of message_id.h.
//
// The prefix tells an id of ours from that of a native client: those may be 32 digits, too, and
// need not stand for one message.

#include "adapters/rabbitmq/message/message_id.h"

#define PREFIX      "mqp-"
#define PREFIX_SIZE (sizeof PREFIX - 1)

size_t rabbitmq_message_id_write(const uint8_t id[RECORD_ID_SIZE], bool enveloped,
				 uint8_t room[RABBITMQ_MESSAGE_ID_MAX])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t *at = room;

	if (!enveloped) {
		memcpy(at, PREFIX, PREFIX_SIZE);
		at += PREFIX_SIZE;
	}
	for (unsigned i = 0; i < RECORD_ID_SIZE; ++i) {
		*at++ = (uint8_t)digits[id[i] >> 4];
		*at++ = (uint8_t)digits[id[i] & 15];
	}
	return (size_t)(at - room);
}

static int digit_value(uint8_t digit)
{
	return digit >= '0' && digit <= '9'   ? digit - '0'
	       : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
					      : -1;
}

bool rabbitmq_message_id_read(amqp_bytes_t text, bool *ret_enveloped, uint8_t ret[RECORD_ID_SIZE])
{
	const uint8_t *at = text.bytes;
	bool enveloped = text.len == 2 * RECORD_ID_SIZE;

	if (!enveloped) {
		if (text.len != PREFIX_SIZE + 2 * RECORD_ID_SIZE ||
		    memcmp(at, PREFIX, PREFIX_SIZE) != 0)
			return false;
		at += PREFIX_SIZE;
	}
	for (unsigned i = 0; i < RECORD_ID_SIZE; ++i) {
		int high = digit_value(at[2 * i]), low = digit_value(at[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	*ret_enveloped = enveloped;
	return true;
}
