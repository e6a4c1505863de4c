// Ids of messages: 48 bits of time in milliseconds, then 80 bits that begin at a random place and
// count up.
//
// Two producers meet only if their ranges overlap within the same millisecond, and counting costs
// nothing per message. The order of the bytes is big-endian, so ids sort by time. It has no lock:
// the producer's lock guards it.

#include "sdk/c/src/ids.h"

#include "core/base/util.h"

#include <errno.h>
#include <sys/random.h>

int ids_init(struct ids *ids)
{
	uint8_t random[10];

	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return -errno;
	ids->high = le16_get(random);
	ids->low = le64_get(random + 2);
	return 0;
}

void ids_next(struct ids *ids, int64_t created_ms, uint8_t id[16])
{
	uint64_t time = __builtin_bswap64((uint64_t)created_ms << 16);

	if (++ids->low == 0)
		++ids->high;
	memcpy(id, &time, 6);
	le16_put(id + 6, __builtin_bswap16(ids->high));
	le64_put(id + 8, __builtin_bswap64(ids->low));
}
