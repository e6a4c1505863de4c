// How long the levels of a retry store hold a message. A second of their names may be shortened.

#include "adapters/rabbitmq/receive/receiver_state.h"

#include "adapters/rabbitmq/ask/level.h"

uint64_t rabbitmq_receiver_state_level_ms(const struct adapter *adapter, unsigned level)
{
	assert(level < RABBITMQ_LEVELS);
	return (uint64_t)rabbitmq_level_seconds[level] * adapter->receiver->second_ms;
}

int rabbitmq_receiver_state_level_for(const struct adapter *adapter, uint64_t remaining_ms)
{
	int level = -1;

	while (level + 1 < (int)RABBITMQ_LEVELS &&
	       rabbitmq_receiver_state_level_ms(adapter, (unsigned)level + 1) <= remaining_ms)
		++level;
	return level;
}
