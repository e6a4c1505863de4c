// Hash tables of the catalog, by id and by name.
//
// Linear probing at a load of at most 7/8. Deletion moves later entries back and leaves no
// tombstones, so a table that lives for years stays as fast as a new one.

#include "core/catalog/index.h"

#include "core/base/util.h"

#include <errno.h>

static uint64_t mix_words(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)(a ^ 0x9e3779b97f4a7c15ull) * (b | 1);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t key_hash(const struct index *index, struct index_key key)
{
	uint64_t hash = mix_words(key.id ^ index->seed, 0xd6e8feb86659fd93ull ^ index->seed);
	size_t size = key.name ? strlen(key.name) : 0;

	for (size_t at = 0; at < size; at += 8) {
		uint64_t word = 0;

		memcpy(&word, key.name + at, MIN(size - at, 8u));
		hash = mix_words(hash ^ word, index->seed + at);
	}
	return mix_words(hash, index->seed ^ size);
}

static bool key_equal(struct index_key a, struct index_key b)
{
	return a.id == b.id && (!a.name || strcmp(a.name, b.name) == 0);
}

static size_t home_slot(const struct index *index, struct index_key key)
{
	return key_hash(index, key) & (index->capacity - 1);
}

// The slot that holds the key, or the empty one where it would go.
static size_t find_slot(const struct index *index, struct index_key key)
{
	size_t at = home_slot(index, key);

	while (index->slots[at] && !key_equal(index->key_of(index->slots[at]), key))
		at = (at + 1) & (index->capacity - 1);
	return at;
}

void index_init(struct index *index, index_key_fn key_of, uint64_t seed)
{
	*index = (struct index){.key_of = key_of, .seed = seed};
}

void index_deinit(struct index *index)
{
	free(index->slots);
	index->slots = NULL;
	index->capacity = index->count = 0;
}

int index_grow(struct index *index, size_t more)
{
	struct index grown = *index;

	if ((index->count + more) * 8 <= index->capacity * 7)
		return 0;
	grown.capacity = MAX(index->capacity, 16u);
	while ((index->count + more) * 8 > grown.capacity * 7)
		grown.capacity *= 2;
	grown.slots = calloc(grown.capacity, sizeof *grown.slots);
	if (!grown.slots)
		return -ENOMEM;
	for (size_t i = 0; i < index->capacity; ++i)
		if (index->slots[i])
			grown.slots[find_slot(&grown, index->key_of(index->slots[i]))] =
				index->slots[i];
	*index = grown;
	return 0;
}

int index_reserve(struct index *index, size_t more)
{
	const void **slots = index->slots;
	int r = index_grow(index, more);

	if (index->slots != slots)
		free(slots);
	return r;
}

const void *index_put(struct index *index, const void *object)
{
	size_t at = find_slot(index, index->key_of(object));
	const void *before = index->slots[at];

	assert((index->count + !before) * 8 <= index->capacity * 7);
	index->slots[at] = object;
	index->count += !before;
	return before;
}

const void *index_find(const struct index *index, struct index_key key)
{
	return index->capacity ? index->slots[find_slot(index, key)] : NULL;
}

bool index_drop(struct index *index, const void *object)
{
	size_t mask = index->capacity - 1, hole;

	if (!index->capacity)
		return false;
	hole = find_slot(index, index->key_of(object));
	if (index->slots[hole] != object)
		return false;
	for (size_t at = (hole + 1) & mask; index->slots[at]; at = (at + 1) & mask) {
		size_t wanted = home_slot(index, index->key_of(index->slots[at]));

		if (((at - wanted) & mask) < ((at - hole) & mask))
			continue; // its own place lies behind the hole
		index->slots[hole] = index->slots[at];
		hole = at;
	}
	index->slots[hole] = NULL;
	--index->count;
	return true;
}
