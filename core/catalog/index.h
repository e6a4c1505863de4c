// Open-addressing hash table of objects: a slot is one pointer, what is compared lies in the
// object.
//
// Keys are hashed with a secret drawn at start, because tenants choose names.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_key {
	const char *name; // NULL: the id alone
	uint64_t id;      // the object's, or with a name its tenant's
};

typedef struct index_key (*index_key_fn)(const void *object);

struct index {
	const void **slots;
	size_t capacity; // 0 or a power of two
	size_t count;
	index_key_fn key_of;
	uint64_t seed;
};

void index_init(struct index *index, index_key_fn key_of, uint64_t seed);
void index_deinit(struct index *index);
int index_reserve(struct index *index, size_t more); // -ENOMEM; afterwards `more` puts cannot fail
// The same, but the old slots stay, for threads that still read them: the caller frees them when
// index->slots has changed.
int index_grow(struct index *index, size_t more);
const void *index_put(struct index *index, const void *object); // returns the one replaced, or NULL
const void *index_find(const struct index *index, struct index_key key);
bool index_drop(struct index *index, const void *object); // only if this very object is there
