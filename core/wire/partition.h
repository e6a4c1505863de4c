// Which partition a key belongs to: murmur2 as Kafka's default partitioner, so that every backend
// and client agrees.
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t partition_hash(const void *key, size_t size); // murmur2, seed 0x9747b28c
uint32_t partition_of_key(const void *key, size_t size,
			  uint32_t partitions); // (hash & 0x7fffffff) mod partitions
