// The send queue of a producer: batches from the first message in them to their answer.
//
// The idea: records are written once, in wire form, into the open batch. A batch is sent as it
// lies, comes back to the front if any of it failed, and is kept for reuse when it has ended.
//
// Smart batching: while nothing is sent, the open batch may be sent at once. While something is, it
// fills, and only full batches follow (up to SEND_QUEUE_PIPELINE).
//
// Order per key: of the batches that hold keys only one is at the proxy at a time, and what failed
// of it goes to the front of what waits. So a message that failed is sent again before any later
// one of its key, whatever the outcomes were. Messages without keys are not delayed by this.
//
// What failed for reasons of its own messages (a partition that is down) is parked instead: later
// messages of its keys wait with it, those of other keys go on. Reasons that concern all (quota,
// overload, a lost connection) make the whole send queue wait; so do several rounds without any
// success.
//
// Invariants: a batch is in exactly one of open, waiting, parked, sent, spare or the driver's hand.
// Sent batches and their entries are touched by the driver only; everything else needs the driver's
// lock. Every entry is reported as ended exactly once. queue.memory is the sum of
// send_queue_charge() over all entries in open, waiting, parked and sent; queue.messages counts
// those of them not yet ended.
//
// It neither sends nor locks: the driver (producer_io.c) does both.

#include "sdk/c/src/send_queue.h"

#include "core/base/code.h"
#include "core/base/util.h"
#include "core/wire/record.h"

#include <errno.h>

// With batches of 128 KiB: enough in flight for a disk to sync together, and still in the cache.
#define SEND_QUEUE_PIPELINE     16u
#define SEND_QUEUE_SPARE_MAX    16u
#define SEND_QUEUE_RETRY_MIN_MS 5u
#define SEND_QUEUE_RETRY_MAX_MS 1000u
#define SEND_QUEUE_ALL_FAIL                                                                        \
	4u // rounds without success after which nothing is tried but now and then

// ---- The queue -------------------------------------------------------------------------------

void send_queue_init(struct send_queue *queue, const struct send_queue_config *config)
{
	*queue = (struct send_queue){.config = *config,
				     .next_number = 1,
				     .armed_ns = UINT64_MAX,
				     .soonest_ns = UINT64_MAX,
				     .idle = true};
	list_init(&queue->waiting);
	list_init(&queue->sent);
	list_init(&queue->spare);
	retry_parked_init(&queue->parked);
}

static void batches_free(struct list *head)
{
	struct list *node;

	while ((node = list_pop_front(head)))
		batch_free(LIST_ENTRY(node, struct batch, node));
}

void send_queue_deinit(struct send_queue *queue)
{
	batches_free(&queue->waiting);
	batches_free(&queue->parked.batches);
	batches_free(&queue->sent);
	batches_free(&queue->spare);
	batch_free(queue->open);
	queue->open = NULL;
}

size_t send_queue_charge(size_t record_size)
{
	return record_size + sizeof(struct batch_entry);
}

bool send_queue_fits(const struct send_queue *queue, size_t charge)
{
	return queue->memory == 0 || queue->memory + charge <= queue->config.memory_bytes;
}

bool send_queue_is_relieved(const struct send_queue *queue)
{
	return queue->memory <= queue->config.memory_bytes - queue->config.memory_bytes / 8;
}

static int send_queue_open(struct send_queue *queue, uint64_t now_ns)
{
	struct list *node = list_pop_front(&queue->spare);

	if (node) {
		queue->open = LIST_ENTRY(node, struct batch, node);
		--queue->spare_count;
	} else if (batch_new(&queue->open) < 0) {
		queue->open = NULL;
		return -ENOMEM;
	}
	queue->open->first_ns = now_ns;
	queue->open->serial = ++queue->next_serial;
	return 0;
}

static void send_queue_seal(struct send_queue *queue)
{
	list_push_back(&queue->waiting, &queue->open->node);
	queue->open = NULL;
}

static bool send_queue_open_is_full(const struct send_queue *queue, size_t record_size)
{
	const struct batch *open = queue->open;

	return open->count > 0 &&
	       open->size + record_size > (size_t)BATCH_HEAD_SIZE + queue->config.batch_bytes;
}

// *ret_wake says whether the driver has to look: it is idle, waits for a full batch, or has armed a
// later deadline. On failure no message was added.
int send_queue_add(struct send_queue *queue, size_t record_size, const struct batch_entry *entry,
		   uint64_t now_ns, uint8_t **ret_record, bool *ret_wake)
{
	size_t charge = send_queue_charge(record_size);
	bool wake = queue->idle;

	if (!send_queue_fits(queue, charge))
		return SEND_QUEUE_E_FULL;
	if (queue->open && send_queue_open_is_full(queue, record_size)) {
		send_queue_seal(queue);
		wake |= queue->idle_full;
		queue->idle_full = false;
	}
	if (!queue->open && send_queue_open(queue, now_ns) < 0)
		return -ENOMEM;
	batch_check(queue->open);
	if (batch_reserve(queue->open, 1, record_size) < 0)
		return -ENOMEM;
	queue->soonest_ns = MIN(queue->soonest_ns, entry->deadline_ns);
	if (entry->deadline_ns < queue->armed_ns) {
		queue->armed_ns = entry->deadline_ns;
		wake = true;
	}
	queue->memory += charge;
	++queue->messages;
	queue->idle = false;
	*ret_record = batch_append(queue->open, entry, record_size);
	if (queue->open->count >= queue->config.batch_messages) {
		send_queue_seal(queue);
		wake |= queue->idle_full;
		queue->idle_full = false;
	}
	*ret_wake = wake;
	return 0;
}

// ---- Sending --------------------------------------------------------------------------------

static struct batch *send_queue_front(const struct send_queue *queue)
{
	if (!list_empty(&queue->waiting))
		return LIST_ENTRY(queue->waiting.next, struct batch, node);
	return queue->open && queue->open->count > 0 ? queue->open : NULL;
}

static bool send_queue_lingers(const struct send_queue *queue, const struct batch *batch,
			       uint64_t now_ns)
{
	return batch == queue->open && now_ns < batch->first_ns + queue->config.linger_ns;
}

static bool send_queue_may_send(const struct send_queue *queue, const struct batch *batch,
				uint64_t now_ns)
{
	if (now_ns < queue->hold_ns)
		return false;
	if (queue->sent_count == 0)
		return !send_queue_lingers(queue, batch, now_ns);
	return batch != queue->open && queue->sent_count < SEND_QUEUE_PIPELINE &&
	       (batch->keyed == 0 || queue->sent_keyed == 0);
}

static bool chosen_behind(const struct batch_entry *entry, const uint8_t *record, const void *arg)
{
	return entry->at >= *(const uint32_t *)arg;
}

// Leaves `count` records in the front batch and puts the others right behind it.
static int send_queue_split(struct send_queue *queue, struct batch *batch, uint32_t count)
{
	uint32_t at = batch->entries[count].at;
	struct batch *rest;

	if (batch_new_like(batch, &rest) < 0)
		return -ENOMEM;
	batch_divide(batch, rest, chosen_behind, &at);
	list_insert_before(batch->node.next, &rest->node);
	return 0;
}

// A batch from which every message was taken.
static void send_queue_forget(struct send_queue *queue, struct batch *batch)
{
	if (batch == queue->open)
		queue->open = NULL;
	list_unlink(&batch->node);
	send_queue_drop(queue, batch);
}

// The first batch of which something may be sent now. SEND_QUEUE_E_WAIT; -ENOMEM.
static int send_queue_next(struct send_queue *queue, uint64_t now_ns, struct batch **ret)
{
	const struct send_queue_config *config = &queue->config;
	struct batch *batch;

	for (;;) {
		// While nothing succeeds, what has not been tried comes first.
		if (now_ns >= queue->parked.until_ns &&
		    (queue->failures < SEND_QUEUE_ALL_FAIL || !send_queue_front(queue)))
			retry_parked_release(&queue->parked, &queue->waiting);
		batch = send_queue_front(queue);
		queue->idle_full = !batch || batch == queue->open;
		queue->idle = !batch && queue->sent_count == 0;
		if (!batch || !send_queue_may_send(queue, batch, now_ns))
			return SEND_QUEUE_E_WAIT;
		if (retry_parked_filter(&queue->parked, batch, config->batch_bytes,
					config->batch_messages) < 0)
			return -ENOMEM;
		if (batch->count > 0)
			break;
		send_queue_forget(queue, batch);
	}
	*ret = batch;
	return 0;
}

int send_queue_take(struct send_queue *queue, uint64_t now_ns, size_t window, size_t max_payload,
		    uint64_t most, struct batch **ret_batch)
{
	struct batch *batch;
	uint32_t fitting;
	bool too_large = false;
	int r = send_queue_next(queue, now_ns, &batch);

	if (r != 0)
		return r;
	fitting = batch_fitting(batch, MIN(window, max_payload));
	if (fitting == 0 && batch_fitting(batch, max_payload) == 0) {
		too_large = true;
		fitting = 1;
	}
	// A batch is divided only when no answer can be waited for to widen the window.
	if (fitting == 0 ||
	    (fitting < batch->count && window < max_payload && queue->sent_count > 0)) {
		queue->idle_full = false;
		return SEND_QUEUE_E_WAIT;
	}
	fitting = (uint32_t)MIN(fitting, most);
	if (batch == queue->open)
		send_queue_seal(queue);
	if (fitting < batch->count && send_queue_split(queue, batch, fitting) < 0)
		return -ENOMEM;
	list_unlink(&batch->node);
	*ret_batch = batch;
	if (too_large)
		return SEND_QUEUE_E_TOO_LARGE;
	list_push_back(&queue->sent, &batch->node);
	++queue->sent_count;
	queue->sent_keyed += batch->keyed > 0;
	batch->number = queue->next_number++;
	for (uint32_t i = 0; i < batch->count; ++i)
		++batch->entries[i].attempts;
	return 0;
}

struct batch *send_queue_find(const struct send_queue *queue, uint64_t number)
{
	LIST_FOREACH(node, next, &queue->sent)
	{
		struct batch *batch = LIST_ENTRY(node, struct batch, node);

		if (batch->number == number)
			return batch;
	}
	return NULL;
}

struct batch *send_queue_last_sent(const struct send_queue *queue)
{
	return list_empty(&queue->sent) ? NULL : LIST_ENTRY(queue->sent.prev, struct batch, node);
}

// ---- Answers --------------------------------------------------------------------------------

static void entry_report(struct batch *batch, uint32_t index, struct mqp_result *result,
			 send_queue_report_fn report, void *ctx)
{
	struct batch_entry *entry = &batch->entries[index];

	memcpy(result->id, record_id(batch->buf->data + entry->at), MQP_ID_SIZE);
	result->attempts = entry->attempts;
	if (result->final) {
		entry->flags |= BATCH_ENDED;
		++batch->ended;
	}
	report(ctx, entry, result);
}

// What one attempt's end means for its message: `result` comes with the attempt's own outcome.
static void entry_answer(struct batch *batch, uint32_t index, struct mqp_result *result,
			 uint64_t now_ns, send_queue_report_fn report, void *ctx)
{
	struct batch_entry *entry = &batch->entries[index];
	enum mqp_outcome outcome = result->outcome;

	if (outcome == MQP_OUTCOME_OK) {
		result->final = true;
		entry_report(batch, index, result, report, ctx);
		return;
	}
	if (outcome == MQP_OUTCOME_UNKNOWN)
		entry->flags |= BATCH_MAYBE_STORED;
	entry->code = (uint8_t)result->code;
	result->final = entry->deadline_ns <= now_ns || (outcome == MQP_OUTCOME_REJECTED &&
							 !code_retriable((enum code)result->code));
	// A refused repetition says nothing about an earlier attempt that may have succeeded.
	if (result->final && (entry->flags & BATCH_MAYBE_STORED))
		result->outcome = MQP_OUTCOME_UNKNOWN;
	entry_report(batch, index, result, report, ctx);
	result->outcome = outcome;
}

static void result_from(struct mqp_result *result, const struct send_queue_verdict *run)
{
	bool ok = run->outcome == MQP_OUTCOME_OK;

	result_clear(result);
	result->outcome = run->outcome;
	result->code = run->code;
	if (ok) {
		result->partition = run->partition;
		result->durability = run->durability;
		result->offset = run->offset;
		result->incarnation = run->incarnation;
	} else {
		result->retry_after_ms = run->retry_after_ms;
	}
}

// Whether others may succeed where this failed.
static bool fails_alone(enum mqp_code code)
{
	return code == MQP_BACKEND_DOWN || code == MQP_BACKEND_FULL || code == MQP_BACKEND_ERROR ||
	       code == MQP_TIMEOUT;
}

static void batch_note_run(struct batch *batch, const struct send_queue_verdict *run)
{
	if (run->outcome != MQP_OUTCOME_OK && mqp_code_retriable(run->code) &&
	    !fails_alone(run->code))
		batch->alone = false;
	if (run->outcome != MQP_OUTCOME_OK && mqp_code_retriable(run->code) && !run->paced)
		batch->paced = false;
	if (run->outcome == MQP_OUTCOME_OK || run->code == MQP_CONNECTION_LOST)
		batch->progress = true;
	if (!run->paced)
		batch->retry_after_ms = MAX(batch->retry_after_ms, run->retry_after_ms);
}

void send_queue_answer(struct batch *batch, uint32_t first, const struct send_queue_verdict *run,
		       uint64_t now_ns, send_queue_report_fn report, void *ctx)
{
	struct mqp_result result;

	assert(first + run->count <= batch->count);
	result_from(&result, run);
	batch_note_run(batch, run);
	for (uint32_t i = first; i < first + run->count; ++i) {
		if (!(batch->entries[i].flags & BATCH_ENDED))
			entry_answer(batch, i, &result, now_ns, report, ctx);
		if (result.offset != MQP_OFFSET_NONE)
			++result.offset;
	}
}

static uint64_t send_queue_pause_ns(const struct send_queue *queue)
{
	uint64_t pause_ms = SEND_QUEUE_RETRY_MIN_MS << MIN(queue->failures, 8u);

	return MIN(pause_ms, SEND_QUEUE_RETRY_MAX_MS) * MS_NS;
}

static void send_queue_hold(struct send_queue *queue, const struct batch *batch, uint64_t now_ns)
{
	uint64_t wait_ns = 0;

	if (!batch->progress && !batch->paced) {
		wait_ns = send_queue_pause_ns(queue);
		++queue->failures;
	}
	wait_ns = MAX(wait_ns, batch->retry_after_ms * MS_NS);
	queue->hold_ns = MAX(queue->hold_ns, now_ns + wait_ns);
}

// While nothing succeeds batches are tried one by one at half of the pause, so that one that could
// be sent gets its turn beside those that cannot.
static void send_queue_park(struct send_queue *queue, struct batch *batch, uint64_t now_ns)
{
	if (!batch->progress && ++queue->failures >= SEND_QUEUE_ALL_FAIL)
		queue->hold_ns = MAX(queue->hold_ns, now_ns + send_queue_pause_ns(queue) / 2);
	retry_parked_put(&queue->parked, batch, now_ns);
}

static bool chosen_ended(const struct batch_entry *entry, const uint8_t *record, const void *arg)
{
	return (entry->flags & BATCH_ENDED) != 0;
}

// The attempt of a sent batch is over. Entries that ended leave it; the rest goes to the front of
// what waits, or is parked. The memory of what ended is given back here.
void send_queue_settle(struct send_queue *queue, struct batch *batch, uint64_t now_ns)
{
	uint64_t charge = batch_charge(batch);
	bool repeated = batch->entries->attempts > 1;

	list_unlink(&batch->node);
	--queue->sent_count;
	queue->sent_keyed -= batch->keyed > 0;
	queue->messages -= batch->ended;
	batch->over = batch->ended = 0;
	batch->number = 0;
	if (batch->progress)
		queue->failures = 0;
	batch_divide(batch, NULL, chosen_ended, NULL);
	assert(charge >= batch_charge(batch) && queue->memory >= charge - batch_charge(batch));
	queue->memory -= charge - batch_charge(batch);
	if (batch->count == 0) {
		if (repeated)
			queue->parked.rounds = 0;
		send_queue_drop(queue, batch);
		return;
	}
	if (batch->alone) {
		send_queue_park(queue, batch, now_ns);
	} else {
		send_queue_hold(queue, batch, now_ns);
		list_push_front(&queue->waiting, &batch->node);
	}
	batch->retry_after_ms = 0;
	batch->progress = false;
	batch->paced = true;
	batch->alone = true;
}

// ---- Ends without an answer -----------------------------------------------------------------

static void entry_end(struct batch *batch, uint32_t index, enum mqp_code code,
		      send_queue_report_fn report, void *ctx)
{
	struct batch_entry *entry = &batch->entries[index];
	bool maybe_stored = (entry->flags & BATCH_MAYBE_STORED) || batch->number > 0;
	struct mqp_result result;

	result_clear(&result);
	result.outcome = maybe_stored ? MQP_OUTCOME_UNKNOWN : MQP_OUTCOME_REJECTED;
	// Why it was refused so far tells more than that time ran out.
	result.code = code;
	if (code == MQP_TIMEOUT && batch->number == 0 && entry->code != MQP_OK)
		result.code = (enum mqp_code)entry->code;
	entry_report(batch, index, &result, report, ctx);
}

static bool chosen_late(const struct batch_entry *entry, const uint8_t *record, const void *arg)
{
	return entry->deadline_ns <= *(const uint64_t *)arg;
}

// Takes the late entries of one batch. NULL: it has none, or there is no memory.
static struct batch *send_queue_expire(struct send_queue *queue, struct batch *batch,
				       uint64_t now_ns)
{
	struct batch *late;

	if (batch->count == 0 || batch->deadline_ns > now_ns || batch_new_like(batch, &late) < 0)
		return NULL;
	batch_divide(batch, late, chosen_late, &now_ns);
	if (batch->count == 0)
		send_queue_forget(queue, batch);
	return late;
}

static struct batch *send_queue_expire_of(struct send_queue *queue, struct list *batches,
					  uint64_t now_ns)
{
	LIST_FOREACH(node, next, batches)
	{
		struct batch *late =
			send_queue_expire(queue, LIST_ENTRY(node, struct batch, node), now_ns);

		if (late)
			return late;
	}
	return NULL;
}

struct batch *send_queue_expired(struct send_queue *queue, uint64_t now_ns, bool everything)
{
	struct batch *late;

	if (everything)
		now_ns = UINT64_MAX;
	else if (now_ns < queue->soonest_ns)
		return NULL;
	late = send_queue_expire_of(queue, &queue->waiting, now_ns);
	if (!late)
		late = send_queue_expire_of(queue, &queue->parked.batches, now_ns);
	if (!late && queue->open)
		late = send_queue_expire(queue, queue->open, now_ns);
	return late;
}

void send_queue_end(struct batch *batch, enum mqp_code code, send_queue_report_fn report, void *ctx)
{
	for (uint32_t i = 0; i < batch->count; ++i)
		entry_end(batch, i, code, report, ctx);
}

static void batch_end_late(struct batch *batch, uint64_t now_ns, enum mqp_code code,
			   send_queue_report_fn report, void *ctx)
{
	if (batch->deadline_ns > now_ns)
		return;
	batch->deadline_ns = UINT64_MAX;
	for (uint32_t i = 0; i < batch->count; ++i) {
		struct batch_entry *entry = &batch->entries[i];

		if (entry->flags & BATCH_ENDED)
			continue;
		if (entry->deadline_ns <= now_ns)
			entry_end(batch, i, code, report, ctx);
		else
			batch->deadline_ns = MIN(batch->deadline_ns, entry->deadline_ns);
	}
}

void send_queue_end_sent(struct send_queue *queue, uint64_t now_ns, bool everything,
			 enum mqp_code code, send_queue_report_fn report, void *ctx)
{
	LIST_FOREACH(node, next, &queue->sent)
	{
		struct batch *batch = LIST_ENTRY(node, struct batch, node);

		batch_end_late(batch, everything ? UINT64_MAX - 1 : now_ns, code, report, ctx);
	}
}

void send_queue_count_ended(struct send_queue *queue)
{
	LIST_FOREACH(node, next, &queue->sent)
	{
		struct batch *batch = LIST_ENTRY(node, struct batch, node);

		queue->messages -= batch->ended;
		batch->over += batch->ended;
		batch->ended = 0;
	}
}

void send_queue_drop(struct send_queue *queue, struct batch *batch)
{
	assert(queue->memory >= batch_charge(batch) && queue->messages >= batch->ended);
	queue->memory -= batch_charge(batch);
	queue->messages -= batch->ended;
	// A buffer that a connection still writes from must not be filled again.
	if (queue->spare_count >= SEND_QUEUE_SPARE_MAX || buf_shared(batch->buf)) {
		batch_free(batch);
		return;
	}
	batch_empty(batch);
	list_push_front(&queue->spare, &batch->node);
	++queue->spare_count;
}

bool send_queue_waits(const struct send_queue *queue)
{
	return send_queue_front(queue) != NULL;
}

// Closes the open batch and returns the number of the newest one: a flush waits for all up to it,
// not for what is sent meanwhile.
uint64_t send_queue_flush(struct send_queue *queue)
{
	if (queue->open && queue->open->count > 0)
		send_queue_seal(queue);
	return queue->next_serial;
}

static bool list_over(const struct list *batches, uint64_t serial)
{
	LIST_FOREACH(node, next, batches)
	{
		const struct batch *batch = LIST_ENTRY(node, struct batch, node);

		if (batch->serial <= serial && batch->over < batch->count)
			return false;
	}
	return true;
}

bool send_queue_flushed(const struct send_queue *queue, uint64_t serial)
{
	return list_over(&queue->waiting, serial) && list_over(&queue->parked.batches, serial) &&
	       list_over(&queue->sent, serial);
}

static uint64_t list_deadline(const struct list *batches, uint64_t next_ns)
{
	LIST_FOREACH(node, next, batches)
	next_ns = MIN(next_ns, LIST_ENTRY(node, struct batch, node)->deadline_ns);
	return next_ns;
}

// Looked for among all batches only when the one known so far has passed: as a rule it was met.
static uint64_t send_queue_soonest(struct send_queue *queue, uint64_t now_ns)
{
	uint64_t next_ns = queue->open ? queue->open->deadline_ns : UINT64_MAX;

	if (queue->messages == 0) {
		queue->soonest_ns = UINT64_MAX;
	} else if (queue->soonest_ns <= now_ns) {
		next_ns = list_deadline(&queue->sent, list_deadline(&queue->waiting, next_ns));
		queue->soonest_ns = list_deadline(&queue->parked.batches, next_ns);
	}
	return queue->soonest_ns;
}

uint64_t send_queue_next_ns(struct send_queue *queue, uint64_t now_ns)
{
	const struct batch *front = send_queue_front(queue);
	uint64_t next_ns = send_queue_soonest(queue, now_ns);

	if (!list_empty(&queue->parked.batches) && queue->parked.until_ns > now_ns)
		next_ns = MIN(next_ns, queue->parked.until_ns);
	if (front && queue->hold_ns > now_ns)
		next_ns = MIN(next_ns, queue->hold_ns);
	if (front && send_queue_lingers(queue, front, now_ns))
		next_ns = MIN(next_ns, front->first_ns + queue->config.linger_ns);
	return next_ns;
}
