// The keys of the tables.
//
// Numbers are big-endian, so that LMDB, which compares bytes, sorts keys by number: a table is
// walked topic by topic, partition by partition, in the order of offsets. A key begins with an id,
// and each prefix of it is a key too: (id), (id, partition), (id, partition, offset). Keys of due
// times put the time behind the id: (id, due ms, partition, offset).
//
// Invariant: code that reads a key of the file checks its size first, since a damaged one may be
// shorter. Not here: which table has which key (docs/adapters/embedded.md).

#include "adapters/store/key.h"

#include "core/base/util.h"

void store_key(uint8_t key[STORE_KEY], uint64_t id, uint32_t partition, uint64_t offset)
{
	uint64_t big_id = __builtin_bswap64(id), big_offset = __builtin_bswap64(offset);
	uint32_t big_partition = __builtin_bswap32(partition);

	memcpy(key, &big_id, 8);
	memcpy(key + 8, &big_partition, 4);
	memcpy(key + 12, &big_offset, 8);
}

uint64_t store_key_id(const void *key)
{
	return __builtin_bswap64(le64_get(key));
}

uint32_t store_key_partition(const void *key)
{
	return __builtin_bswap32(le32_get((const uint8_t *)key + 8));
}

uint64_t store_key_offset(const void *key)
{
	return __builtin_bswap64(le64_get((const uint8_t *)key + 12));
}

void store_key_due(uint8_t key[STORE_DUE_KEY], uint64_t id, uint64_t due_ms, uint32_t partition,
		   uint64_t offset)
{
	uint64_t big_due = __builtin_bswap64(due_ms);
	uint8_t position[STORE_KEY];

	store_key(position, id, partition, offset);
	memcpy(key, position, 8);
	memcpy(key + 8, &big_due, 8);
	memcpy(key + 16, position + 8, 12);
}

uint64_t store_key_due_ms(const void *key)
{
	return __builtin_bswap64(le64_get((const uint8_t *)key + 8));
}

uint32_t store_key_due_partition(const void *key)
{
	return __builtin_bswap32(le32_get((const uint8_t *)key + 16));
}

uint64_t store_key_due_offset(const void *key)
{
	return __builtin_bswap64(le64_get((const uint8_t *)key + 20));
}
