// What a consumer has begun, and so what its end costs.
#pragma once

#include <stdbool.h>

struct flight;

// What its consumer told covers it.
bool dispatch_has_begun(const struct flight *flight);
