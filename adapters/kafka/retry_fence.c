// Fences for a batch of a retry store (retry_rows.h).

#include "adapters/kafka/retry.h"

int retry_fences_make(struct retry_batch *batch, uint32_t count, uint64_t epoch,
		      const uint64_t *positions)
{
	batch->items = calloc(count, sizeof *batch->items);
	for (uint32_t i = 0; batch->items && i < count; ++i) {
		struct retry_fence fence = {epoch, positions ? positions[i] : 0};
		struct retry_item *item = &batch->items[batch->count];

		if (fence.position == UINT64_MAX)
			continue;
		item->value = malloc(RETRY_FENCE);
		if (!item->value)
			return -1;
		retry_fence_put(item->value, &fence);
		item->size = RETRY_FENCE;
		retry_key_put(item->key, i, RETRY_FENCE_OFFSET, epoch);
		++batch->count;
	}
	return batch->items ? 0 : -1;
}

void retry_fences_free(struct retry_batch *batch)
{
	for (uint32_t i = 0; i < batch->count; ++i)
		free(batch->items[i].value);
	free(batch->items);
	batch->items = NULL;
	batch->count = 0;
}
