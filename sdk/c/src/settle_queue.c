// Settles of a subscription on their way to the proxy.
//
// What is noted gathers in `open` until the owner sends it. It never waits for an answer to what
// was sent before, which would cost each key a commit of the backend. Neighbouring messages with
// the same verb become one entry. The settles of a caller that waits are a batch of their own, so
// that its answer is exactly its own.
//
// Invariant: `open` holds what no frame carries (its from and flying are 0); a batch in `sent` is
// in one frame as a whole, a call's is answered as far as `from`. The consumer's lock guards all of
// it. Not here: sending (consumer_report.c).

#include "sdk/c/src/settle_queue.h"

#include "core/base/util.h"

#include <errno.h>

void settle_queue_init(struct settle_queue *queue)
{
	*queue = (struct settle_queue){.next_number = 1};
	list_init(&queue->sent);
	list_init(&queue->calls);
}

static void sent_free(struct settle_queue_sent *sent)
{
	if (sent)
		free(sent->batch.entries);
	free(sent);
}

void settle_queue_deinit(struct settle_queue *queue)
{
	struct list *node;

	while ((node = list_pop_front(&queue->sent)))
		sent_free(LIST_ENTRY(node, struct settle_queue_sent, node));
	sent_free(queue->spare);
	queue->spare = NULL;
	free(queue->open.entries);
	queue->open = (struct settle_queue_batch){0};
}

static bool continues_run(const struct settle_entry *last, const struct settle_entry *next)
{
	return last->verb == next->verb && last->partition == next->partition &&
	       last->epoch == next->epoch && last->attempt == next->attempt &&
	       last->ms == next->ms && last->offset + last->count == next->offset &&
	       (last->number + last->count == next->number ||
		(last->number == 0 && next->number == 0)) &&
	       last->count <= UINT32_MAX - next->count;
}

int settle_queue_add(struct settle_queue_batch *batch, const struct settle_entry *entry)
{
	if (batch->count > 0 && continues_run(&batch->entries[batch->count - 1], entry)) {
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

static bool batch_fly(struct settle_queue *queue, struct settle_queue_batch *batch,
		      uint32_t max_entries)
{
	if (batch->flying > 0 || batch->from == batch->count)
		return false;
	batch->flying = MIN(batch->count - batch->from, max_entries);
	batch->number = queue->next_number++;
	return true;
}

// Moves the first entries of `open` into a batch that is sent.
static const struct settle_queue_batch *open_leave(struct settle_queue *queue, uint32_t max_entries)
{
	struct settle_queue_sent *sent = queue->spare ? queue->spare : calloc(1, sizeof *sent);
	struct settle_queue_batch *open = &queue->open;
	struct settle_queue_batch emptied;

	if (!sent)
		return NULL;
	queue->spare = sent;
	emptied = sent->batch;
	emptied.count = emptied.from = emptied.flying = 0;
	emptied.messages = 0;
	for (uint32_t i = max_entries; i < open->count; ++i)
		if (settle_queue_add(&emptied, &open->entries[i]) < 0) {
			sent->batch = emptied;
			return NULL;
		}
	sent->batch = *open;
	sent->batch.count = MIN(open->count, max_entries);
	*open = emptied;
	batch_fly(queue, &sent->batch, max_entries);
	queue->spare = NULL;
	list_push_back(&queue->sent, &sent->node);
	return &sent->batch;
}

const struct settle_queue_batch *settle_queue_take(struct settle_queue *queue, uint32_t max_entries)
{
	LIST_FOREACH(node, next, &queue->calls)
	{
		struct settle_queue_call *call = LIST_ENTRY(node, struct settle_queue_call, node);

		if (batch_fly(queue, &call->batch, max_entries))
			return &call->batch;
	}
	return queue->open.count ? open_leave(queue, max_entries) : NULL;
}

bool settle_queue_idle(const struct settle_queue *queue)
{
	return queue->open.count == 0 && list_empty(&queue->sent) && list_empty(&queue->calls);
}

size_t settle_queue_encoded_size(const struct settle_queue_batch *batch)
{
	return SETTLE_HEAD_SIZE + (size_t)batch->flying * SETTLE_ENTRY_SIZE;
}

void settle_queue_encode(const struct settle_queue_batch *batch, uint8_t *payload)
{
	struct settle_head head = {.settle = batch->number, .count = batch->flying};

	assert(batch->from + batch->flying <= batch->count);
	settle_head_write(payload, &head);
	for (uint32_t i = 0; i < batch->flying; ++i)
		settle_entry_write(payload + SETTLE_HEAD_SIZE + (size_t)i * SETTLE_ENTRY_SIZE,
				   &batch->entries[batch->from + i]);
}

static bool batch_awaits(const struct settle_queue_batch *batch, uint64_t number)
{
	return batch->flying > 0 && batch->number == number;
}

// The batch that a number answers, and whose it is.
static struct settle_queue_batch *batch_find(struct settle_queue *queue, uint64_t number,
					     struct settle_queue_sent **ret_sent,
					     struct settle_queue_call **ret_call)
{
	*ret_call = NULL;
	LIST_FOREACH(node, next, &queue->sent)
	{
		*ret_sent = LIST_ENTRY(node, struct settle_queue_sent, node);
		if (batch_awaits(&(*ret_sent)->batch, number))
			return &(*ret_sent)->batch;
	}
	*ret_sent = NULL;
	LIST_FOREACH(node, next, &queue->calls)
	{
		struct settle_queue_call *call = LIST_ENTRY(node, struct settle_queue_call, node);

		if (batch_awaits(&call->batch, number)) {
			*ret_call = call;
			return &call->batch;
		}
	}
	return NULL;
}

static void tally_entry(struct settle_queue_tally *tally, const struct settle_entry *entry,
			const struct settle_outcome *answer)
{
	uint32_t settled = MIN(answer->settled, entry->count);
	enum mqp_code code = (enum mqp_code)answer->code;

	tally->settled[entry->verb] += settled;
	tally->stale += entry->count - settled;
	if (code != MQP_OK && code != MQP_STALE && tally->code == MQP_OK)
		tally->code = code;
}

static void sent_over(struct settle_queue *queue, struct settle_queue_sent *sent)
{
	list_unlink(&sent->node);
	if (queue->spare)
		sent_free(sent);
	else
		queue->spare = sent;
}

int settle_queue_answered(struct settle_queue *queue, const uint8_t *payload, size_t size,
			  struct settle_queue_tally *ret_tally)
{
	struct settle_queue_sent *sent;
	struct settle_queue_call *call;
	struct settle_queue_batch *batch;
	struct settle_head head;

	if (settle_outcome_check(payload, size, &head))
		return -EBADMSG;
	batch = batch_find(queue, head.settle, &sent, &call);
	*ret_tally = (struct settle_queue_tally){0};
	// The caller of this one has stopped waiting.
	if (!batch && head.settle > 0 && head.settle < queue->next_number)
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
		sent_over(queue, sent);
	return 0;
}

static uint64_t batch_abandon(struct settle_queue_batch *batch)
{
	uint64_t messages = 0;

	for (uint32_t i = batch->from; i < batch->count; ++i)
		messages += batch->entries[i].count;
	batch->flying = 0;
	return messages;
}

// The stream is gone: nothing that is unanswered will be answered. Returns the number of these
// messages, and ends the calls that wait.
uint64_t settle_queue_lost(struct settle_queue *queue)
{
	uint64_t messages = batch_abandon(&queue->open);
	struct list *node;

	queue->open.count = 0;
	queue->open.messages = 0;
	while ((node = queue->sent.next) != &queue->sent) {
		struct settle_queue_sent *sent = LIST_ENTRY(node, struct settle_queue_sent, node);

		messages += batch_abandon(&sent->batch);
		sent_over(queue, sent);
	}
	while ((node = list_pop_front(&queue->calls))) {
		struct settle_queue_call *call = LIST_ENTRY(node, struct settle_queue_call, node);

		messages += batch_abandon(&call->batch);
		call->lost = true;
		call->done = true;
	}
	return messages;
}
