// Batches that failed for reasons of their own messages and wait for their next attempt, while
// others are sent.
//
// Later messages of the same keys must wait behind them. Keys are remembered as bits of a hash: a
// key that waits without need is harmless, a forgotten one would break the order. Order holds
// because a batch with keys is filtered before it is sent, only one such batch is at the proxy at a
// time, and on release the parked ones come first.
//
// Invariant: a bit is set for every key of every parked message; all bits are cleared when the last
// one is released. Not here: which failures park a batch (send_queue.c).

#include "sdk/c/src/retry_parked.h"

#include "core/wire/partition.h"
#include "core/wire/record.h"

#include <errno.h>

#define PAUSE_MIN_MS 5u
#define PAUSE_MAX_MS 1000u

void retry_parked_init(struct retry_parked *parked)
{
	*parked = (struct retry_parked){0};
	list_init(&parked->batches);
}

static uint32_t bit_of(const uint8_t *record)
{
	struct slice key = record_key(record);

	return partition_of_key(key.data, key.size, RETRY_PARKED_KEYS);
}

static void remember_keys(struct retry_parked *parked, const struct batch *batch)
{
	for (uint32_t i = 0; batch->keyed && i < batch->count; ++i) {
		const struct batch_entry *entry = &batch->entries[i];
		uint32_t bit;

		if (!(entry->flags & BATCH_KEYED))
			continue;
		bit = bit_of(batch->buf->data + entry->at);
		parked->keys[bit / 64] |= (uint64_t)1 << bit % 64;
	}
}

// The pause is set by the first batch that parks and doubles from round to round; later ones join
// the same round.
void retry_parked_put(struct retry_parked *parked, struct batch *batch, uint64_t now_ns)
{
	if (list_empty(&parked->batches)) {
		uint64_t pause_ms = (uint64_t)PAUSE_MIN_MS << MIN(parked->rounds, 8u);

		pause_ms = MAX(MIN(pause_ms, PAUSE_MAX_MS), batch->retry_after_ms);
		parked->until_ns = now_ns + pause_ms * MS_NS;
		++parked->rounds;
	}
	remember_keys(parked, batch);
	list_push_back(&parked->batches, &batch->node);
}

static bool chosen_parked(const struct batch_entry *entry, const uint8_t *record, const void *arg)
{
	const struct retry_parked *parked = arg;
	uint32_t bit;

	if (!(entry->flags & BATCH_KEYED))
		return false;
	bit = bit_of(record);
	return parked->keys[bit / 64] >> bit % 64 & 1;
}

// The batch to which `count` more messages of `bytes` together may be joined. NULL: no memory.
static struct batch *tail_with_room(struct retry_parked *parked, const struct batch *from,
				    uint32_t count, size_t bytes, uint32_t batch_bytes,
				    uint32_t batch_messages)
{
	struct batch *tail = LIST_ENTRY(parked->batches.prev, struct batch, node);

	if (tail->size + bytes <= batch_bytes && tail->count + count <= batch_messages) {
		if (batch_reserve(tail, count, bytes) < 0)
			return NULL;
		// A flush that waits for either waits for both.
		tail->serial = MIN(tail->serial, from->serial);
		return tail;
	}
	if (batch_new(&tail) < 0)
		return NULL;
	if (batch_reserve(tail, count, bytes) < 0) {
		batch_free(tail);
		return NULL;
	}
	tail->serial = from->serial;
	tail->first_ns = from->first_ns;
	list_push_back(&parked->batches, &tail->node);
	return tail;
}

int retry_parked_filter(struct retry_parked *parked, struct batch *batch, uint32_t batch_bytes,
			uint32_t batch_messages)
{
	struct batch *tail;
	uint32_t count = 0;
	size_t bytes = 0;

	if (list_empty(&parked->batches) || batch->keyed == 0)
		return 0;
	for (uint32_t i = 0; i < batch->count; ++i) {
		const struct batch_entry *entry = &batch->entries[i];
		const uint8_t *record = batch->buf->data + entry->at;

		if (!chosen_parked(entry, record, parked))
			continue;
		++count;
		bytes += record_size(record);
	}
	if (count == 0)
		return 0;
	tail = tail_with_room(parked, batch, count, bytes, batch_bytes, batch_messages);
	if (!tail)
		return -ENOMEM;
	batch_divide(batch, tail, chosen_parked, parked);
	return 0;
}

void retry_parked_release(struct retry_parked *parked, struct list *waiting)
{
	if (list_empty(&parked->batches))
		return;
	while (!list_empty(&parked->batches)) {
		struct list *last = parked->batches.prev;

		list_unlink(last);
		list_push_front(waiting, last);
	}
	memset(parked->keys, 0, sizeof parked->keys);
}
