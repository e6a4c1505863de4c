// Each level is four times as long as the one before, so a delay of any length passes few queues.

#include "adapters/rabbitmq/ask/level.h"

const uint32_t rabbitmq_level_seconds[RABBITMQ_LEVELS] = {60, 240, 960, 3840, 15360, 61440, 245760};

int rabbitmq_level_for(uint64_t remaining_ms)
{
	int level = -1;

	while (level + 1 < (int)RABBITMQ_LEVELS &&
	       rabbitmq_level_seconds[level + 1] * 1000ull <= remaining_ms)
		++level;
	return level;
}
