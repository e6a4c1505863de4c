// What a copy says of itself, in the header `mqp-copy`. Pure.
#pragma once

#include "core/base/util.h"

#include <stdbool.h>

#define RABBITMQ_COPY_SIZE 26u // version, flags, attempts, partition, due, stored

struct rabbitmq_copy {
	uint32_t attempts, partition;
	uint64_t due_ms;
	int64_t stored_ms;
	bool renewal;
};

void rabbitmq_copy_write(const struct rabbitmq_copy *copy, uint8_t room[RABBITMQ_COPY_SIZE]);
bool rabbitmq_copy_read(const uint8_t *value, size_t size,
			struct rabbitmq_copy *ret); // false: it is none
