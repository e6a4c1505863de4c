// The application's side of a consumer, as far as its other parts need it.
#pragma once

#include "sdk/c/src/consumer.h"

enum mqp_code consumer_api_close(struct mqp_consumer *consumer, uint64_t deadline_ns); // not I/O
void consumer_api_release_queued(struct mqp_consumer *consumer); // takes the lock
