// The same smart batching as for sends: while nothing is at the proxy, settles leave at once; while
// a batch is, the next fills. A waiting caller's settles are a batch of their own, so that its
// answer is exactly its own.
//
// Invariant: `open` holds what no frame carries (its from and flying are 0); `sent` is answered as
// far as `from`.

#include "sdk/c/src/settles.h"

#include "core/base/util.h"

#include <errno.h>

void settles_init(struct settles *settles)
{
	*settles = (struct settles){.next_number = 1};
	list_init(&settles->calls);
}

void settles_deinit(struct settles *settles)
{
	free(settles->open.entries);
	free(settles->sent.entries);
	settles->open = settles->sent = (struct settles_batch){0};
}

static bool continues(const struct settle_entry *last, const struct settle_entry *next)
{
	return last->verb == next->verb && last->partition == next->partition &&
	       last->epoch == next->epoch && last->attempt == next->attempt &&
	       last->ms == next->ms && last->offset + last->count == next->offset &&
	       last->count <= UINT32_MAX - next->count;
}

int settles_add(struct settles_batch *batch, const struct settle_entry *entry)
{
	if (batch->count > 0 && continues(&batch->entries[batch->count - 1], entry)) {
		batch->entries[batch->count - 1].count += entry->count;
		return 0;
	}
	if (batch->count == batch->capacity) {
		uint32_t capacity = batch->capacity ? batch->capacity * 2 : 16;
		struct settle_entry *entries =
			realloc(batch->entries, capacity * sizeof *batch->entries);

		if (!entries)
			return -ENOMEM;
		batch->entries = entries;
		batch->capacity = capacity;
	}
	batch->entries[batch->count++] = *entry;
	return 0;
}

static bool batch_fly(struct settles *settles, struct settles_batch *batch, uint32_t max_entries)
{
	if (batch->flying > 0 || batch->from == batch->count)
		return false;
	batch->flying = MIN(batch->count - batch->from, max_entries);
	batch->number = settles->next_number++;
	return true;
}

const struct settles_batch *settles_take(struct settles *settles, uint32_t max_entries)
{
	LIST_FOREACH(node, next, &settles->calls)
	{
		struct settles_call *call = LIST_ENTRY(node, struct settles_call, node);

		if (batch_fly(settles, &call->batch, max_entries))
			return &call->batch;
	}
	if (settles->sent.from == settles->sent.count) {
		struct settles_batch emptied = settles->sent;

		emptied.count = emptied.from = 0;
		settles->sent = settles->open;
		settles->open = emptied;
	}
	return batch_fly(settles, &settles->sent, max_entries) ? &settles->sent : NULL;
}

bool settles_idle(const struct settles *settles)
{
	return settles->open.count == 0 && settles->sent.from == settles->sent.count &&
	       list_empty(&settles->calls);
}

size_t settles_encoded_size(const struct settles_batch *batch)
{
	return SETTLE_HEAD_SIZE + (size_t)batch->flying * SETTLE_ENTRY_SIZE;
}

void settles_encode(const struct settles_batch *batch, uint8_t *payload)
{
	struct settle_head head = {.settle = batch->number, .count = batch->flying};

	settle_head_write(payload, &head);
	for (uint32_t i = 0; i < batch->flying; ++i)
		settle_entry_write(payload + SETTLE_HEAD_SIZE + (size_t)i * SETTLE_ENTRY_SIZE,
				   &batch->entries[batch->from + i]);
}

static bool batch_awaits(const struct settles_batch *batch, uint64_t number)
{
	return batch->flying > 0 && batch->number == number;
}

// The batch that a number answers; `ret_call` is the caller's, if it has one.
static struct settles_batch *batch_find(struct settles *settles, uint64_t number,
					struct settles_call **ret_call)
{
	*ret_call = NULL;
	if (batch_awaits(&settles->sent, number))
		return &settles->sent;
	LIST_FOREACH(node, next, &settles->calls)
	{
		struct settles_call *call = LIST_ENTRY(node, struct settles_call, node);

		if (batch_awaits(&call->batch, number)) {
			*ret_call = call;
			return &call->batch;
		}
	}
	return NULL;
}

static void tally_entry(struct settles_tally *tally, const struct settle_entry *entry,
			const struct settled_entry *answer)
{
	uint32_t settled = MIN(answer->settled, entry->count);
	enum mqp_code code = (enum mqp_code)answer->code;

	tally->settled[entry->verb] += settled;
	tally->stale += entry->count - settled;
	if (code != MQP_OK && code != MQP_STALE && tally->code == MQP_OK)
		tally->code = code;
}

int settles_answered(struct settles *settles, const uint8_t *payload, size_t size,
		     struct settles_tally *ret_tally)
{
	struct settles_call *call;
	struct settles_batch *batch;
	struct settle_head head;

	if (settled_check(payload, size, &head))
		return -EBADMSG;
	batch = batch_find(settles, head.settle, &call);
	*ret_tally = (struct settles_tally){0};
	// The caller of this one has stopped waiting.
	if (!batch && head.settle > 0 && head.settle < settles->next_number)
		return 0;
	if (!batch || head.count != batch->flying)
		return -EBADMSG;
	for (uint32_t i = 0; i < batch->flying; ++i) {
		struct settled_entry entry;

		settled_entry_read(payload + SETTLED_HEAD_SIZE + (size_t)i * SETTLED_ENTRY_SIZE,
				   &entry);
		tally_entry(ret_tally, &batch->entries[batch->from + i], &entry);
		if (call)
			call->codes[batch->from + i] = (enum mqp_code)entry.code;
	}
	batch->from += batch->flying;
	batch->flying = 0;
	if (call && batch->from == batch->count) {
		call->done = true;
		list_unlink(&call->node);
	}
	return 0;
}

static uint64_t batch_abandon(struct settles_batch *batch)
{
	uint64_t messages = 0;

	for (uint32_t i = batch->from; i < batch->count; ++i)
		messages += batch->entries[i].count;
	batch->flying = 0;
	return messages;
}

uint64_t settles_lost(struct settles *settles)
{
	uint64_t messages = batch_abandon(&settles->open) + batch_abandon(&settles->sent);
	struct list *node;

	settles->open.count = 0;
	settles->sent.count = settles->sent.from = 0;
	while ((node = list_pop_front(&settles->calls))) {
		struct settles_call *call = LIST_ENTRY(node, struct settles_call, node);

		messages += batch_abandon(&call->batch);
		call->lost = true;
		call->done = true;
	}
	return messages;
}
