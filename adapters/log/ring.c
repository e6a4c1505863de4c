// The newest chunks of partitions in memory, bounded together.
//
// A chunk is one buffer with its records and their entries, made once and never changed, so a fetch
// is answered with a reference to it and no copy. Chunks of a ring stand in the order of their
// offsets; all chunks of all rings in one list in the order they came. The oldest of the list is
// therefore the oldest of its ring, and the bound of all drops from its front.
//
// Invariants: between `first` and `next` a ring knows every position; its bytes are the sum of its
// chunks, and those of all rings the sum of theirs. Nothing is read from the backend here, and
// there is no lock: the owner of the rings has one.

#include "adapters/log/ring.h"

void log_rings_init(struct log_rings *rings, uint64_t bytes_max, uint64_t ring_bytes_max,
		    uint32_t ring_chunks_max)
{
	*rings = (struct log_rings){.bytes_max = bytes_max,
				    .ring_bytes_max = ring_bytes_max,
				    .ring_chunks_max = MIN(ring_chunks_max, LOG_RING_CHUNKS)};
	list_init(&rings->all);
}

// ---- chunks

static uintptr_t align_up(uintptr_t at)
{
	return (at + 15) & ~(uintptr_t)15;
}

struct log_chunk *log_ring_chunk_new(uint64_t offset, size_t room)
{
	struct log_chunk *chunk;
	struct buf *buf;

	if (buf_new(15 + align_up(sizeof *chunk) + room, &buf) < 0)
		return NULL;
	chunk = (struct log_chunk *)align_up((uintptr_t)buf->data);
	*chunk = (struct log_chunk){.buf = buf, .offset = offset};
	chunk->entries = (struct log_entry *)align_up((uintptr_t)(chunk + 1));
	list_init(&chunk->in_rings);
	return chunk;
}

uint8_t *log_ring_chunk_room_end(const struct log_chunk *chunk)
{
	return chunk->buf->data + chunk->buf->size;
}

void log_ring_chunk_free(struct log_chunk *chunk)
{
	assert(!chunk->ring);
	buf_unref(chunk->buf);
}

// ---- rings

static struct log_chunk *chunk_at(const struct log_ring *ring, uint32_t index)
{
	return ring->chunks[(ring->head + index) % LOG_RING_CHUNKS];
}

static void oldest_drop(struct log_rings *rings, struct log_ring *ring)
{
	struct log_chunk *chunk = chunk_at(ring, 0);

	ring->head = (ring->head + 1) % LOG_RING_CHUNKS;
	--ring->count;
	ring->first = ring->count ? chunk_at(ring, 0)->offset : ring->next;
	ring->bytes -= chunk->buf->size;
	rings->bytes -= chunk->buf->size;
	list_unlink(&chunk->in_rings);
	chunk->ring = NULL;
	buf_unref(chunk->buf);
}

void log_ring_clear(struct log_rings *rings, struct log_ring *ring, uint64_t next)
{
	while (ring->count)
		oldest_drop(rings, ring);
	ring->first = ring->next = next;
}

void log_ring_add(struct log_rings *rings, struct log_ring *ring, struct log_chunk *chunk,
		  uint64_t next)
{
	uint32_t size = chunk->buf->size;

	assert(!chunk->ring && next > chunk->offset);
	assert(!chunk->count || chunk->entries[chunk->count - 1].offset < next);
	if (ring->next != chunk->offset)
		log_ring_clear(rings, ring, chunk->offset);
	while (ring->count && (ring->count == rings->ring_chunks_max ||
			       ring->bytes + size > rings->ring_bytes_max))
		oldest_drop(rings, ring);
	while (rings->bytes && rings->bytes + size > rings->bytes_max)
		oldest_drop(rings, LIST_ENTRY(rings->all.next, struct log_chunk, in_rings)->ring);
	ring->chunks[(ring->head + ring->count++) % LOG_RING_CHUNKS] = chunk;
	ring->next = next;
	ring->bytes += size;
	rings->bytes += size;
	chunk->ring = ring;
	list_push_back(&rings->all, &chunk->in_rings);
}

// ---- reading

// The chunk that covers the offset.
static uint32_t chunk_find(const struct log_ring *ring, uint64_t offset)
{
	uint32_t low = 0, high = ring->count;

	while (high - low > 1) {
		uint32_t middle = (low + high) / 2;

		if (offset < chunk_at(ring, middle)->offset)
			high = middle;
		else
			low = middle;
	}
	return low;
}

// The first entry at the offset or behind it.
static uint32_t entry_find(const struct log_chunk *chunk, uint64_t offset)
{
	uint32_t low = 0, high = chunk->count;

	if (!high || offset <= chunk->entries[0].offset)
		return 0;
	if (chunk->entries[high - 1].offset - chunk->entries[0].offset == high - 1)
		return (uint32_t)MIN(offset - chunk->entries[0].offset, (uint64_t)high);
	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (chunk->entries[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint32_t entries_within(const struct log_chunk *chunk, uint32_t first, uint32_t end,
			       uint32_t bytes_max)
{
	uint64_t bytes = chunk->entries[first].size;
	uint32_t at = first + 1;

	if (chunk->buf->size <= bytes_max)
		return end;
	while (at < end && bytes + chunk->entries[at].size <= bytes_max)
		bytes += chunk->entries[at++].size;
	return at;
}

// Answers with what the chunk has for the fetch. false: nothing.
static bool chunk_fetch(struct log_chunk *chunk, uint64_t chunk_end, struct log_fetch *fetch)
{
	uint32_t first = entry_find(chunk, fetch->offset);
	uint32_t all = fetch->until < chunk_end ? entry_find(chunk, fetch->until) : chunk->count;
	uint32_t end = all;

	if (first >= all)
		return false;
	if (end - first > fetch->max_messages)
		end = first + MAX(fetch->max_messages, 1u);
	end = entries_within(chunk, first, end, fetch->max_bytes);
	assert(chunk->entries[first].offset >= fetch->offset);
	fetch->buf = buf_ref(chunk->buf);
	fetch->entries = &chunk->entries[first];
	fetch->count = end - first;
	fetch->next = end == all ? MIN(chunk_end, fetch->until) : chunk->entries[end].offset;
	fetch->code = CODE_OK;
	return true;
}

bool log_ring_fetch(const struct log_ring *ring, struct log_fetch *fetch)
{
	if (fetch->offset < ring->first || fetch->offset >= ring->next)
		return false;
	for (uint32_t i = chunk_find(ring, fetch->offset); i < ring->count; ++i) {
		uint64_t end = i + 1 < ring->count ? chunk_at(ring, i + 1)->offset : ring->next;

		if (chunk_fetch(chunk_at(ring, i), end, fetch))
			return true;
		if (end >= fetch->until)
			break;
	}
	fetch->buf = NULL;
	fetch->entries = NULL;
	fetch->count = 0;
	fetch->next = MIN(ring->next, fetch->until);
	fetch->code = CODE_OK;
	return true;
}

uint64_t log_ring_bytes_behind(const struct log_ring *ring, uint64_t offset)
{
	uint64_t bytes = 0;

	for (uint32_t i = ring->count; i > 0 && chunk_at(ring, i - 1)->offset >= offset; --i)
		bytes += chunk_at(ring, i - 1)->buf->size;
	return bytes;
}
