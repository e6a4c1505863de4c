// How long a broker leaves a delivery unacknowledged, as the end of a channel tells it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Has the broker closed a channel because of it? Then the time is at least 1 s. `text`: why the
// channel has ended; NULL: not known.
bool rabbitmq_hold_limit_read(const char *text, uint64_t *ret_ms);
