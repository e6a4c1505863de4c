// Payload of PRODUCE (docs/protocol.md section 6).
#pragma once

#include "core/base/util.h"

#include <stdbool.h>

#define PRODUCE_HEAD_SIZE   12 // before the records
#define PRODUCE_MAX_RECORDS 65535u

struct produce_head {
	uint64_t batch;
	uint32_t count;
};

// NULL: fine; else what is wrong. The records themselves are checked by record_check().
const char *produce_head_read(const uint8_t *payload, size_t size, struct produce_head *ret);
void produce_head_write(uint8_t *payload, const struct produce_head *head);
