// The I/O side of a consumer.
#pragma once

#include "sdk/c/src/consumer.h"

void consumer_io_init(struct mqp_consumer *consumer);
