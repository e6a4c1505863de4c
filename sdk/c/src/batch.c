// Records that are sent together, with what their senders want to know.
//
// Records lie back to back behind room for the head of PRODUCE, so a batch is sent as it lies. For
// each record an entry says where it begins, its deadline and its callback.
//
// The checksum of the records is computed as they come, in steps that still lie in the nearest
// cache of the thread that wrote them. The thread that sends would have to fetch all of them again.
//
// Invariant: entries stand in the order of their records and cover all bytes. Dividing moves
// records down in place, so it never fails; room in the other batch is made before. Not here: order
// among batches (send_queue.c).

#include "sdk/c/src/batch.h"

#include "core/base/crc32c.h"
#include "core/base/util.h"

#include <errno.h>

#define BYTES_FIRST 4096u
#define COUNT_FIRST 32u
#define CHECK_STEP  8192u

void batch_free(struct batch *batch)
{
	if (!batch)
		return;
	buf_unref(batch->buf);
	free(batch->entries);
	free(batch);
}

void batch_empty(struct batch *batch)
{
	batch->size = BATCH_HEAD_SIZE;
	batch->checked = BATCH_HEAD_SIZE;
	batch->crc = 0;
	batch->count = 0;
	batch->keyed = 0;
	batch->number = 0;
	batch->over = 0;
	batch->ended = 0;
	batch->retry_after_ms = 0;
	batch->progress = false;
	batch->paced = true;
	batch->alone = true;
	batch->deadline_ns = UINT64_MAX;
}

int batch_new(struct batch **ret)
{
	struct batch *batch = calloc(1, sizeof *batch);

	if (!batch)
		return -ENOMEM;
	batch->entries = malloc(COUNT_FIRST * sizeof *batch->entries);
	if (!batch->entries || buf_new(BYTES_FIRST, &batch->buf) < 0) {
		batch_free(batch);
		return -ENOMEM;
	}
	batch->capacity = COUNT_FIRST;
	list_init(&batch->node);
	batch_empty(batch);
	*ret = batch;
	return 0;
}

static int batch_grow_bytes(struct batch *batch, size_t need)
{
	size_t size = MAX((size_t)batch->buf->size * 2, need);
	struct buf *buf;

	if (need > UINT32_MAX)
		return -ENOMEM;
	if (buf_new(MIN(size, UINT32_MAX), &buf) < 0)
		return -ENOMEM;
	memcpy(buf->data, batch->buf->data, batch->size);
	buf_unref(batch->buf);
	batch->buf = buf;
	return 0;
}

int batch_reserve(struct batch *batch, uint32_t count, size_t bytes)
{
	size_t need = batch->size + bytes, entries_need = (size_t)batch->count + count;
	struct batch_entry *entries;

	if (need > batch->buf->size && batch_grow_bytes(batch, need) < 0)
		return -ENOMEM;
	if (entries_need <= batch->capacity)
		return 0;
	entries_need = MAX(entries_need, (size_t)batch->capacity * 2);
	entries = realloc(batch->entries, entries_need * sizeof *entries);
	if (!entries)
		return -ENOMEM;
	batch->entries = entries;
	batch->capacity = (uint32_t)entries_need;
	return 0;
}

static uint32_t entry_size(const struct batch *batch, uint32_t index)
{
	uint32_t end = index + 1 < batch->count ? batch->entries[index + 1].at : batch->size;

	return end - batch->entries[index].at;
}

int batch_new_like(const struct batch *model, struct batch **ret)
{
	struct batch *batch;

	if (batch_new(&batch) < 0)
		return -ENOMEM;
	if (batch_reserve(batch, model->count, model->size) < 0) {
		batch_free(batch);
		return -ENOMEM;
	}
	batch->first_ns = model->first_ns;
	batch->serial = model->serial;
	*ret = batch;
	return 0;
}

void batch_divide(struct batch *batch, struct batch *to, batch_choose_fn choose, const void *arg)
{
	uint32_t count = batch->count, size = batch->size;
	uint8_t *data = batch->buf->data;

	batch->count = 0;
	batch->size = BATCH_HEAD_SIZE;
	batch->checked = BATCH_HEAD_SIZE;
	batch->crc = 0;
	batch->keyed = 0;
	batch->deadline_ns = UINT64_MAX;
	for (uint32_t i = 0; i < count; ++i) {
		struct batch_entry entry = batch->entries[i];
		uint32_t end = i + 1 < count ? batch->entries[i + 1].at : size;
		uint32_t bytes = end - entry.at;

		if (!choose(&entry, data + entry.at, arg))
			memmove(batch_append(batch, &entry, bytes), data + entry.at, bytes);
		else if (to)
			memcpy(batch_append(to, &entry, bytes), data + entry.at, bytes);
	}
}

void batch_check(struct batch *batch)
{
	if (batch->size - batch->checked < CHECK_STEP)
		return;
	batch->crc =
		crc32c(batch->crc, batch->buf->data + batch->checked, batch->size - batch->checked);
	batch->checked = batch->size;
}

// The head is known only when the batch is sent, so its checksum is joined with that of the
// records.
uint32_t batch_crc(const struct batch *batch)
{
	const uint8_t *data = batch->buf->data;
	uint32_t records = crc32c(batch->crc, data + batch->checked, batch->size - batch->checked);

	return crc32c_join(crc32c(0, data, BATCH_HEAD_SIZE), records,
			   batch->size - BATCH_HEAD_SIZE);
}

uint64_t batch_charge(const struct batch *batch)
{
	return (uint64_t)batch->size - BATCH_HEAD_SIZE +
	       (uint64_t)batch->count * sizeof(struct batch_entry);
}

uint32_t batch_fitting(const struct batch *batch, size_t limit)
{
	uint32_t count = 0;

	while (count < batch->count &&
	       (size_t)batch->entries[count].at + entry_size(batch, count) <= limit)
		++count;
	return count;
}
