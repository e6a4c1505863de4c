// What all sources of a cluster share.
#pragma once

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"

struct rabbitmq_receiver {
	uint32_t second_ms; // of a level's name; 1000, less in tests that cannot wait for minutes
};

// How long a message stays in a level.
uint64_t rabbitmq_receiver_state_level_ms(const struct adapter *adapter, unsigned level);
// The level for a message that is due in so long; -1: `.retry` itself.
int rabbitmq_receiver_state_level_for(const struct adapter *adapter, uint64_t remaining_ms);
