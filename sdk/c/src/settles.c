// What is noted gathers in `open` until the owner sends it; it never waits for an answer to what
// was sent before, which would cost each key a commit of the backend. A waiting caller's settles
// are a batch of their own, so that its answer is exactly its own.
//
// Invariant: `open` holds what no frame carries (its from and flying are 0); a batch in `sent` is
// in one frame as a whole, a call's is answered as far as `from`.

#include "sdk/c/src/settles.h"

#include "core/base/util.h"

#include <errno.h>

void settles_init(struct settles *settles)
{
	*settles = (struct settles){.next_number = 1};
	list_init(&settles->sent);
	list_init(&settles->calls);
}

static void sent_free(struct settles_sent *sent)
{
	if (sent)
		free(sent->batch.entries);
	free(sent);
}

void settles_deinit(struct settles *settles)
{
	struct list *node;

	while ((node = list_pop_front(&settles->sent)))
		sent_free(LIST_ENTRY(node, struct settles_sent, node));
	sent_free(settles->spare);
	settles->spare = NULL;
	free(settles->open.entries);
	settles->open = (struct settles_batch){0};
}

static bool continues(const struct settle_entry *last, const struct settle_entry *next)
{
	return last->verb == next->verb && last->partition == next->partition &&
	       last->epoch == next->epoch && last->attempt == next->attempt &&
	       last->ms == next->ms && last->offset + last->count == next->offset &&
	       (last->number + last->count == next->number ||
		(last->number == 0 && next->number == 0)) &&
	       last->count <= UINT32_MAX - next->count;
}

int settles_add(struct settles_batch *batch, const struct settle_entry *entry)
{
	if (batch->count > 0 && continues(&batch->entries[batch->count - 1], entry)) {
		batch->entries[batch->count - 1].count += entry->count;
		batch->messages += entry->count;
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
	batch->messages += entry->count;
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

// Moves the first entries of `open` into a batch that is sent.
static const struct settles_batch *open_leave(struct settles *settles, uint32_t max_entries)
{
	struct settles_sent *sent = settles->spare ? settles->spare : calloc(1, sizeof *sent);
	struct settles_batch *open = &settles->open;
	struct settles_batch emptied;

	if (!sent)
		return NULL;
	settles->spare = sent;
	emptied = sent->batch;
	emptied.count = emptied.from = emptied.flying = 0;
	emptied.messages = 0;
	for (uint32_t i = max_entries; i < open->count; ++i)
		if (settles_add(&emptied, &open->entries[i]) < 0) {
			sent->batch = emptied;
			return NULL;
		}
	sent->batch = *open;
	sent->batch.count = MIN(open->count, max_entries);
	*open = emptied;
	batch_fly(settles, &sent->batch, max_entries);
	settles->spare = NULL;
	list_push_back(&settles->sent, &sent->node);
	return &sent->batch;
}

const struct settles_batch *settles_take(struct settles *settles, uint32_t max_entries)
{
	LIST_FOREACH(node, next, &settles->calls)
	{
		struct settles_call *call = LIST_ENTRY(node, struct settles_call, node);

		if (batch_fly(settles, &call->batch, max_entries))
			return &call->batch;
	}
	return settles->open.count ? open_leave(settles, max_entries) : NULL;
}

bool settles_idle(const struct settles *settles)
{
	return settles->open.count == 0 && list_empty(&settles->sent) &&
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

// The batch that a number answers, and whose it is.
static struct settles_batch *batch_find(struct settles *settles, uint64_t number,
					struct settles_sent **ret_sent,
					struct settles_call **ret_call)
{
	*ret_call = NULL;
	LIST_FOREACH(node, next, &settles->sent)
	{
		*ret_sent = LIST_ENTRY(node, struct settles_sent, node);
		if (batch_awaits(&(*ret_sent)->batch, number))
			return &(*ret_sent)->batch;
	}
	*ret_sent = NULL;
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
			const struct settle_outcome *answer)
{
	uint32_t settled = MIN(answer->settled, entry->count);
	enum mqp_code code = (enum mqp_code)answer->code;

	tally->settled[entry->verb] += settled;
	tally->stale += entry->count - settled;
	if (code != MQP_OK && code != MQP_STALE && tally->code == MQP_OK)
		tally->code = code;
}

static void sent_over(struct settles *settles, struct settles_sent *sent)
{
	list_unlink(&sent->node);
	if (settles->spare)
		sent_free(sent);
	else
		settles->spare = sent;
}

int settles_answered(struct settles *settles, const uint8_t *payload, size_t size,
		     struct settles_tally *ret_tally)
{
	struct settles_sent *sent;
	struct settles_call *call;
	struct settles_batch *batch;
	struct settle_head head;

	if (settle_outcome_check(payload, size, &head))
		return -EBADMSG;
	batch = batch_find(settles, head.settle, &sent, &call);
	*ret_tally = (struct settles_tally){0};
	// The caller of this one has stopped waiting.
	if (!batch && head.settle > 0 && head.settle < settles->next_number)
		return 0;
	if (!batch || head.count != batch->flying)
		return -EBADMSG;
	for (uint32_t i = 0; i < batch->flying; ++i) {
		struct settle_outcome entry;

		settle_outcome_read(payload + SETTLED_HEAD_SIZE + (size_t)i * SETTLED_ENTRY_SIZE,
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
	if (sent)
		sent_over(settles, sent);
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
	uint64_t messages = batch_abandon(&settles->open);
	struct list *node;

	settles->open.count = 0;
	settles->open.messages = 0;
	while ((node = settles->sent.next) != &settles->sent) {
		struct settles_sent *sent = LIST_ENTRY(node, struct settles_sent, node);

		messages += batch_abandon(&sent->batch);
		sent_over(settles, sent);
	}
	while ((node = list_pop_front(&settles->calls))) {
		struct settles_call *call = LIST_ENTRY(node, struct settles_call, node);

		messages += batch_abandon(&call->batch);
		call->lost = true;
		call->done = true;
	}
	return messages;
}
