// Each partition has a ring of its newest chunks, in the order of their offsets without gaps; all
// chunks of a store stand in one list in the order they came. The oldest of the list is therefore
// the oldest of its ring. One lock a store, held for a few steps.

#include "adapters/embedded/tail.h"

#include "core/wire/record.h"

#include <pthread.h>

#define RING        64u          // chunks of a partition
#define CHUNK_BYTES (256u << 10) // a larger one is not kept
#define ALL_BYTES   (64ull << 20)

struct tail {
	struct tail_chunk *chunks[RING];
	uint32_t head, count;
};

struct tails {
	pthread_mutex_t lock;
	struct list all;
	uint64_t bytes;
};

struct tails *tails_new(void)
{
	struct tails *tails = calloc(1, sizeof *tails);

	if (!tails)
		return NULL;
	pthread_mutex_init(&tails->lock, NULL);
	list_init(&tails->all);
	return tails;
}

void tails_free(struct tails *tails)
{
	if (!tails)
		return;
	assert(list_empty(&tails->all));
	pthread_mutex_destroy(&tails->lock);
	free(tails);
}

struct tail_chunk *tail_chunk_new(uint64_t offset, uint32_t count, int64_t stored_ms,
				  const uint8_t *records, size_t size)
{
	size_t entries_size = count * sizeof(struct log_entry);
	struct tail_chunk *chunk;
	struct buf *buf;
	uint8_t *at;

	if (size + entries_size > CHUNK_BYTES ||
	    buf_new(sizeof *chunk + 16 + entries_size + size, &buf) < 0)
		return NULL;
	chunk = (struct tail_chunk *)(((uintptr_t)buf->data + 15) & ~(uintptr_t)15);
	chunk->buf = buf;
	chunk->entries = (struct log_entry *)(void *)(chunk + 1);
	chunk->offset = offset;
	chunk->count = count;
	chunk->tail = NULL;
	list_init(&chunk->in_tails);
	at = (uint8_t *)(chunk->entries + count);
	memcpy(at, records, size);
	for (uint32_t i = 0; i < count; ++i) {
		chunk->entries[i] = (struct log_entry){offset + i, stored_ms, at, record_size(at)};
		at += record_size(at);
	}
	return chunk;
}

void tail_chunk_free(struct tail_chunk *chunk)
{
	buf_unref(chunk->buf);
}

// Called with the lock held.
static void oldest_drop(struct tails *tails, struct tail *tail)
{
	struct tail_chunk *chunk = tail->chunks[tail->head];

	tail->head = (tail->head + 1) % RING;
	--tail->count;
	list_unlink(&chunk->in_tails);
	tails->bytes -= chunk->buf->size;
	tail_chunk_free(chunk);
}

static uint64_t end_of(const struct tail *tail)
{
	const struct tail_chunk *last = tail->chunks[(tail->head + tail->count - 1) % RING];

	return last->offset + last->count;
}

void tail_add(struct tails *tails, struct tail **tail, struct tail_chunk *chunk)
{
	struct tail *made = *tail ? *tail : calloc(1, sizeof *made);

	if (!made) {
		tail_chunk_free(chunk);
		return;
	}
	pthread_mutex_lock(&tails->lock);
	*tail = made;
	while (made->count && (made->count == RING || end_of(made) != chunk->offset))
		oldest_drop(tails, made);
	chunk->tail = made;
	made->chunks[(made->head + made->count++) % RING] = chunk;
	list_push_back(&tails->all, &chunk->in_tails);
	tails->bytes += chunk->buf->size;
	while (tails->bytes > ALL_BYTES)
		oldest_drop(tails, LIST_ENTRY(tails->all.next, struct tail_chunk, in_tails)->tail);
	pthread_mutex_unlock(&tails->lock);
}

void tail_free(struct tails *tails, struct tail *tail)
{
	if (!tail)
		return;
	pthread_mutex_lock(&tails->lock);
	while (tail->count)
		oldest_drop(tails, tail);
	pthread_mutex_unlock(&tails->lock);
	free(tail);
}

// The chunk that holds the offset. Called with the lock held.
static struct tail_chunk *find(const struct tail *tail, uint64_t offset)
{
	uint32_t low = 0, high = tail->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		struct tail_chunk *chunk = tail->chunks[(tail->head + middle) % RING];

		if (offset < chunk->offset)
			high = middle;
		else if (offset >= chunk->offset + chunk->count)
			low = middle + 1;
		else
			return chunk;
	}
	return NULL;
}

bool tail_fetch(struct tails *tails, struct tail *const *tail, struct log_fetch *fetch)
{
	struct tail_chunk *chunk;

	pthread_mutex_lock(&tails->lock);
	chunk = *tail ? find(*tail, fetch->offset) : NULL;
	if (chunk)
		buf_ref(chunk->buf);
	pthread_mutex_unlock(&tails->lock);
	if (!chunk)
		return false;
	fetch->buf = chunk->buf;
	fetch->entries = &chunk->entries[fetch->offset - chunk->offset];
	fetch->count =
		(uint32_t)MIN(MIN(fetch->until, chunk->offset + chunk->count) - fetch->offset,
			      fetch->max_messages);
	fetch->next = fetch->offset + fetch->count;
	fetch->code = CODE_OK;
	return true;
}
