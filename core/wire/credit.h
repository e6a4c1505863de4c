// Payload of CREDIT (docs/protocol.md section 7). `begun`: the feature BEGUN is in use.
#pragma once

#include "core/base/util.h"

#include <stdbool.h>

#define CREDIT_SIZE       24
#define CREDIT_BEGUN_SIZE 32 // with the feature BEGUN

struct credit {
	uint64_t messages, bytes, drain;
	uint64_t begun; // 0 without the feature
};

const char *credit_read(const uint8_t *payload, size_t size, bool begun,
			struct credit *ret); // NULL: fine; else what is wrong
// Returns the size of the payload, at most CREDIT_BEGUN_SIZE.
size_t credit_write(uint8_t *payload, bool begun, const struct credit *credit);
