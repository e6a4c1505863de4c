// A stored message as the answer of QUERY_MESSAGES shows it.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

json_t *message_json(const uint8_t *record, uint32_t partition, uint64_t offset, int64_t stored_ms,
		     bool body); // a checked record
