// Writes and reads the value of copy.h: fixed places, little-endian.
//
// A later version, or a flag that is not known, is no copy of ours: what it means must not be
// guessed.

#include "adapters/rabbitmq/message/copy.h"

#define COPY_VERSION 1
#define COPY_RENEWAL 1u // a flag

void rabbitmq_copy_write(const struct rabbitmq_copy *copy, uint8_t room[RABBITMQ_COPY_SIZE])
{
	room[0] = COPY_VERSION;
	room[1] = copy->renewal ? COPY_RENEWAL : 0;
	le32_put(room + 2, copy->attempts);
	le32_put(room + 6, copy->partition);
	le64_put(room + 10, copy->due_ms);
	le64_put(room + 18, (uint64_t)copy->stored_ms);
}

bool rabbitmq_copy_read(const uint8_t *value, size_t size, struct rabbitmq_copy *ret)
{
	if (size != RABBITMQ_COPY_SIZE || value[0] != COPY_VERSION || (value[1] & ~COPY_RENEWAL))
		return false;
	*ret = (struct rabbitmq_copy){.attempts = le32_get(value + 2),
				      .partition = le32_get(value + 6),
				      .due_ms = le64_get(value + 10),
				      .stored_ms = (int64_t)le64_get(value + 18),
				      .renewal = value[1] & COPY_RENEWAL};
	return true;
}
