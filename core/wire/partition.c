// Which partition a key belongs to: the same one that Kafka's own clients choose.
//
// MurmurHash2 by Austin Appleby (public domain), 32 bits, with the seed of
// org.apache.kafka.common.utils.Utils.murmur2. Invariant: the result never changes, since the order
// of a key's messages depends on it. Messages without a key are placed elsewhere.

#include "core/wire/partition.h"

#include "core/base/util.h"

uint32_t partition_hash(const void *key, size_t size)
{
	const uint32_t m = 0x5bd1e995;
	const uint8_t *at = key;
	uint32_t hash = 0x9747b28cu ^ (uint32_t)size;

	for (; size >= 4; size -= 4, at += 4) {
		uint32_t k = le32_get(at);

		k *= m;
		k ^= k >> 24;
		k *= m;
		hash = hash * m ^ k;
	}
	switch (size) {
	case 3: hash ^= (uint32_t)at[2] << 16; __attribute__((fallthrough));
	case 2: hash ^= (uint32_t)at[1] << 8; __attribute__((fallthrough));
	case 1: hash = (hash ^ at[0]) * m; break;
	default: break;
	}
	hash ^= hash >> 13;
	hash *= m;
	return hash ^ hash >> 15;
}

// Kafka clears the sign bit rather than take the absolute value, so that the smallest integer stays
// in range.
uint32_t partition_of_key(const void *key, size_t size, uint32_t partitions)
{
	return (partition_hash(key, size) & 0x7fffffff) % partitions;
}
