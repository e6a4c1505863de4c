// The keys of the store's tables: made of numbers, and read back. Pure functions of the bytes; any
// thread.
#pragma once

#include <stdint.h>

#define STORE_ID_KEY        8u  // bytes of a key (id)
#define STORE_PARTITION_KEY 12u // (id, partition)
#define STORE_KEY           20u // (id, partition, offset)
#define STORE_DUE_KEY       28u // (id, due ms, partition, offset)

// Writes all STORE_KEY bytes; a shorter key is its first STORE_ID_KEY or STORE_PARTITION_KEY.
void store_key(uint8_t key[STORE_KEY], uint64_t id, uint32_t partition, uint64_t offset);
// The key must have the bytes that hold what is asked for.
uint64_t store_key_id(const void *key);
uint32_t store_key_partition(const void *key);
uint64_t store_key_offset(const void *key);

// Milliseconds since 1970.
void store_key_due(uint8_t key[STORE_DUE_KEY], uint64_t id, uint64_t due_ms, uint32_t partition,
		   uint64_t offset);
uint64_t store_key_due_ms(const void *key);
uint32_t store_key_due_partition(const void *key);
uint64_t store_key_due_offset(const void *key);
