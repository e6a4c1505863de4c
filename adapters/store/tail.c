// Keeps the newest chunks of partitions that a source follows in memory, so that a consumer at the
// end of a partition is served without the disk, a copy or another thread.
//
// All partitions of a store share one lock and one budget of ALL_BYTES; the oldest chunks leave
// first. The rings themselves are those of adapters/log/ring.h.
//
// Invariant: a chunk becomes visible after its commit, never before. Not here: what has been
// deleted from the front since may still be here, so callers compare with the first offset before
// they ask (durable_log.c).

#include "adapters/store/tail.h"

#include "core/wire/record.h"

#include <pthread.h>

#define CHUNKS      64u          // of a partition
#define CHUNK_BYTES (256u << 10) // a larger one is not kept
#define ALL_BYTES   (64ull << 20)

struct tail {
	struct log_ring ring;
};

struct tail_cache {
	pthread_mutex_t lock;
	struct log_rings rings;
};

struct tail_cache *tail_cache_new(void)
{
	struct tail_cache *tails = calloc(1, sizeof *tails);

	if (!tails)
		return NULL;
	pthread_mutex_init(&tails->lock, NULL);
	log_rings_init(&tails->rings, ALL_BYTES, ALL_BYTES, CHUNKS);
	return tails;
}

void tail_cache_free(struct tail_cache *tails)
{
	if (!tails)
		return;
	assert(list_empty(&tails->rings.all));
	pthread_mutex_destroy(&tails->lock);
	free(tails);
}

struct log_chunk *tail_chunk_new(uint64_t offset, uint32_t count, int64_t stored_ms,
				 const uint8_t *records, size_t size)
{
	size_t room = size + count * sizeof(struct log_entry);
	struct log_chunk *chunk = room <= CHUNK_BYTES ? log_ring_chunk_new(offset, room) : NULL;
	uint8_t *at;

	if (!chunk)
		return NULL;
	chunk->count = count;
	at = (uint8_t *)(chunk->entries + count);
	memcpy(at, records, size);
	for (uint32_t i = 0; i < count; ++i) {
		chunk->entries[i] = (struct log_entry){offset + i, stored_ms, at, record_size(at)};
		at += record_size(at);
	}
	assert(at == (uint8_t *)(chunk->entries + count) + size);
	return chunk;
}

// Takes the chunk in every case; one that finds no memory or room is dropped, and readers get it
// from the disk.
void tail_add(struct tail_cache *tails, struct tail **tail, struct log_chunk *chunk)
{
	struct tail *made = *tail ? *tail : calloc(1, sizeof *made);

	if (!made) {
		log_ring_chunk_free(chunk);
		return;
	}
	pthread_mutex_lock(&tails->lock);
	*tail = made;
	log_ring_add(&tails->rings, &made->ring, chunk, chunk->offset + chunk->count);
	pthread_mutex_unlock(&tails->lock);
}

void tail_free(struct tail_cache *tails, struct tail *tail)
{
	if (!tail)
		return;
	pthread_mutex_lock(&tails->lock);
	log_ring_clear(&tails->rings, &tail->ring, 0);
	pthread_mutex_unlock(&tails->lock);
	free(tail);
}

bool tail_fetch(struct tail_cache *tails, struct tail *const *tail, struct log_fetch *fetch)
{
	bool answered;

	pthread_mutex_lock(&tails->lock);
	answered = *tail && log_ring_fetch(&(*tail)->ring, fetch);
	pthread_mutex_unlock(&tails->lock);
	return answered;
}
