// The idea of a lane: records are written once, in wire form, into the open batch; a batch leaves
// as it lies, comes back to the front if any of it failed, and is kept for reuse when it has ended.
//
// Smart batching: while nothing is sent the open batch may leave at once; while something is, it
// fills, and only full batches follow (up to LANE_PIPELINE).
//
// Order per key: of the batches that hold keys only one is at the proxy at a time, and what failed
// of it goes to the front of what waits. So a message that failed is sent again before any later
// one of its key, whatever the outcomes were; messages without keys are not held up by this.
//
// What failed for reasons of its own messages (a partition that is down) is parked instead: later
// messages of its keys wait with it, those of other keys go on. Reasons that concern all (quota,
// overload, a lost connection) make the whole lane wait; so do several rounds without any success.
//
// Invariants: a batch is in exactly one of open, waiting, parked, sent, spare or the driver's hand.
// Sent batches and their entries are touched by the driver only; everything else needs the driver's
// lock. Every entry is reported as ended exactly once. lane.memory is the sum of lane_charge over
// all entries in open, waiting, parked and sent; lane.messages counts those of them not yet ended.

#include "sdk/c/src/lane.h"

#include "core/base/code.h"
#include "core/base/util.h"
#include "core/wire/record.h"

#include <errno.h>

// With batches of 128 KiB: enough in flight for a disk to sync together, and still in the cache.
#define LANE_PIPELINE     16u
#define LANE_SPARE_MAX    16u
#define LANE_RETRY_MIN_MS 5u
#define LANE_RETRY_MAX_MS 1000u
#define LANE_ALL_FAIL     4u // rounds without success after which nothing is tried but now and then

// ---- The lane -------------------------------------------------------------------------------

void lane_init(struct lane *lane, const struct lane_config *config)
{
	*lane = (struct lane){.config = *config,
			      .next_number = 1,
			      .armed_ns = UINT64_MAX,
			      .soonest_ns = UINT64_MAX,
			      .idle = true};
	list_init(&lane->waiting);
	list_init(&lane->sent);
	list_init(&lane->spare);
	parked_init(&lane->parked);
}

static void batches_free(struct list *head)
{
	struct list *node;

	while ((node = list_pop_front(head)))
		batch_free(LIST_ENTRY(node, struct lane_batch, node));
}

void lane_deinit(struct lane *lane)
{
	batches_free(&lane->waiting);
	batches_free(&lane->parked.batches);
	batches_free(&lane->sent);
	batches_free(&lane->spare);
	batch_free(lane->open);
	lane->open = NULL;
}

size_t lane_charge(size_t record_size)
{
	return record_size + sizeof(struct lane_entry);
}

bool lane_fits(const struct lane *lane, size_t charge)
{
	return lane->memory == 0 || lane->memory + charge <= lane->config.memory_bytes;
}

bool lane_is_relieved(const struct lane *lane)
{
	return lane->memory <= lane->config.memory_bytes - lane->config.memory_bytes / 8;
}

static int lane_open(struct lane *lane, uint64_t now_ns)
{
	struct list *node = list_pop_front(&lane->spare);

	if (node) {
		lane->open = LIST_ENTRY(node, struct lane_batch, node);
		--lane->spare_count;
	} else if (batch_new(&lane->open) < 0) {
		lane->open = NULL;
		return -ENOMEM;
	}
	lane->open->first_ns = now_ns;
	lane->open->serial = ++lane->next_serial;
	return 0;
}

static void lane_seal(struct lane *lane)
{
	list_push_back(&lane->waiting, &lane->open->node);
	lane->open = NULL;
}

static bool lane_open_is_full(const struct lane *lane, size_t record_size)
{
	const struct lane_batch *open = lane->open;

	return open->count > 0 &&
	       open->size + record_size > (size_t)LANE_HEAD_SIZE + lane->config.batch_bytes;
}

int lane_add(struct lane *lane, size_t record_size, const struct lane_entry *entry, uint64_t now_ns,
	     uint8_t **ret_record, bool *ret_wake)
{
	size_t charge = lane_charge(record_size);
	bool wake = lane->idle;

	if (!lane_fits(lane, charge))
		return LANE_E_FULL;
	if (lane->open && lane_open_is_full(lane, record_size)) {
		lane_seal(lane);
		wake |= lane->idle_full;
		lane->idle_full = false;
	}
	if (!lane->open && lane_open(lane, now_ns) < 0)
		return -ENOMEM;
	batch_check(lane->open);
	if (batch_reserve(lane->open, 1, record_size) < 0)
		return -ENOMEM;
	lane->soonest_ns = MIN(lane->soonest_ns, entry->deadline_ns);
	if (entry->deadline_ns < lane->armed_ns) {
		lane->armed_ns = entry->deadline_ns;
		wake = true;
	}
	lane->memory += charge;
	++lane->messages;
	lane->idle = false;
	*ret_record = batch_append(lane->open, entry, record_size);
	if (lane->open->count >= lane->config.batch_messages) {
		lane_seal(lane);
		wake |= lane->idle_full;
		lane->idle_full = false;
	}
	*ret_wake = wake;
	return 0;
}

// ---- Sending --------------------------------------------------------------------------------

static struct lane_batch *lane_front(const struct lane *lane)
{
	if (!list_empty(&lane->waiting))
		return LIST_ENTRY(lane->waiting.next, struct lane_batch, node);
	return lane->open && lane->open->count > 0 ? lane->open : NULL;
}

static bool lane_lingers(const struct lane *lane, const struct lane_batch *batch, uint64_t now_ns)
{
	return batch == lane->open && now_ns < batch->first_ns + lane->config.linger_ns;
}

static bool lane_may_send(const struct lane *lane, const struct lane_batch *batch, uint64_t now_ns)
{
	if (now_ns < lane->hold_ns)
		return false;
	if (lane->sent_count == 0)
		return !lane_lingers(lane, batch, now_ns);
	return batch != lane->open && lane->sent_count < LANE_PIPELINE &&
	       (batch->keyed == 0 || lane->sent_keyed == 0);
}

static bool chosen_behind(const struct lane_entry *entry, const uint8_t *record, const void *arg)
{
	return entry->at >= *(const uint32_t *)arg;
}

// Leaves `count` records in the front batch and puts the others right behind it.
static int lane_split(struct lane *lane, struct lane_batch *batch, uint32_t count)
{
	uint32_t at = batch->entries[count].at;
	struct lane_batch *rest;

	if (batch_new_like(batch, &rest) < 0)
		return -ENOMEM;
	batch_divide(batch, rest, chosen_behind, &at);
	list_insert_before(batch->node.next, &rest->node);
	return 0;
}

// A batch from which every message was taken.
static void lane_forget(struct lane *lane, struct lane_batch *batch)
{
	if (batch == lane->open)
		lane->open = NULL;
	list_unlink(&batch->node);
	lane_drop(lane, batch);
}

// The first batch of which something may be sent now. LANE_E_WAIT; -ENOMEM.
static int lane_next(struct lane *lane, uint64_t now_ns, struct lane_batch **ret)
{
	const struct lane_config *config = &lane->config;
	struct lane_batch *batch;

	for (;;) {
		// While nothing succeeds, what has not been tried comes first.
		if (now_ns >= lane->parked.until_ns &&
		    (lane->failures < LANE_ALL_FAIL || !lane_front(lane)))
			parked_release(&lane->parked, &lane->waiting);
		batch = lane_front(lane);
		lane->idle_full = !batch || batch == lane->open;
		lane->idle = !batch && lane->sent_count == 0;
		if (!batch || !lane_may_send(lane, batch, now_ns))
			return LANE_E_WAIT;
		if (parked_filter(&lane->parked, batch, config->batch_bytes,
				  config->batch_messages) < 0)
			return -ENOMEM;
		if (batch->count > 0)
			break;
		lane_forget(lane, batch);
	}
	*ret = batch;
	return 0;
}

int lane_take(struct lane *lane, uint64_t now_ns, size_t window, size_t max_payload, uint64_t most,
	      struct lane_batch **ret_batch)
{
	struct lane_batch *batch;
	uint32_t fitting;
	bool too_large = false;
	int r = lane_next(lane, now_ns, &batch);

	if (r != 0)
		return r;
	fitting = batch_fitting(batch, MIN(window, max_payload));
	if (fitting == 0 && batch_fitting(batch, max_payload) == 0) {
		too_large = true;
		fitting = 1;
	}
	// A batch is divided only when no answer can be waited for to widen the window.
	if (fitting == 0 ||
	    (fitting < batch->count && window < max_payload && lane->sent_count > 0)) {
		lane->idle_full = false;
		return LANE_E_WAIT;
	}
	fitting = (uint32_t)MIN(fitting, most);
	if (batch == lane->open)
		lane_seal(lane);
	if (fitting < batch->count && lane_split(lane, batch, fitting) < 0)
		return -ENOMEM;
	list_unlink(&batch->node);
	*ret_batch = batch;
	if (too_large)
		return LANE_E_TOO_LARGE;
	list_push_back(&lane->sent, &batch->node);
	++lane->sent_count;
	lane->sent_keyed += batch->keyed > 0;
	batch->number = lane->next_number++;
	for (uint32_t i = 0; i < batch->count; ++i)
		++batch->entries[i].attempts;
	return 0;
}

struct lane_batch *lane_find(const struct lane *lane, uint64_t number)
{
	LIST_FOREACH(node, next, &lane->sent)
	{
		struct lane_batch *batch = LIST_ENTRY(node, struct lane_batch, node);

		if (batch->number == number)
			return batch;
	}
	return NULL;
}

struct lane_batch *lane_last_sent(const struct lane *lane)
{
	return list_empty(&lane->sent) ? NULL
				       : LIST_ENTRY(lane->sent.prev, struct lane_batch, node);
}

// ---- Answers --------------------------------------------------------------------------------

static void entry_report(struct lane_batch *batch, uint32_t index, struct mqp_result *result,
			 lane_report_fn report, void *ctx)
{
	struct lane_entry *entry = &batch->entries[index];

	memcpy(result->id, record_id(batch->buf->data + entry->at), MQP_ID_SIZE);
	result->attempts = entry->attempts;
	if (result->final) {
		entry->flags |= LANE_ENDED;
		++batch->ended;
	}
	report(ctx, entry, result);
}

// What one attempt's end means for its message: `result` comes with the attempt's own outcome.
static void entry_answer(struct lane_batch *batch, uint32_t index, struct mqp_result *result,
			 uint64_t now_ns, lane_report_fn report, void *ctx)
{
	struct lane_entry *entry = &batch->entries[index];
	enum mqp_outcome outcome = result->outcome;

	if (outcome == MQP_OUTCOME_OK) {
		result->final = true;
		entry_report(batch, index, result, report, ctx);
		return;
	}
	if (outcome == MQP_OUTCOME_UNKNOWN)
		entry->flags |= LANE_MAYBE_STORED;
	entry->code = (uint8_t)result->code;
	result->final = entry->deadline_ns <= now_ns || (outcome == MQP_OUTCOME_REJECTED &&
							 !code_retriable((enum code)result->code));
	// A refused repetition says nothing about an earlier attempt that may have succeeded.
	if (result->final && (entry->flags & LANE_MAYBE_STORED))
		result->outcome = MQP_OUTCOME_UNKNOWN;
	entry_report(batch, index, result, report, ctx);
	result->outcome = outcome;
}

static void result_from(struct mqp_result *result, const struct lane_verdict *run)
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

static void batch_note_run(struct lane_batch *batch, const struct lane_verdict *run)
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

void lane_answer(struct lane_batch *batch, uint32_t first, const struct lane_verdict *run,
		 uint64_t now_ns, lane_report_fn report, void *ctx)
{
	struct mqp_result result;

	assert(first + run->count <= batch->count);
	result_from(&result, run);
	batch_note_run(batch, run);
	for (uint32_t i = first; i < first + run->count; ++i) {
		if (!(batch->entries[i].flags & LANE_ENDED))
			entry_answer(batch, i, &result, now_ns, report, ctx);
		if (result.offset != MQP_OFFSET_NONE)
			++result.offset;
	}
}

static uint64_t lane_pause_ns(const struct lane *lane)
{
	uint64_t pause_ms = LANE_RETRY_MIN_MS << MIN(lane->failures, 8u);

	return MIN(pause_ms, LANE_RETRY_MAX_MS) * MS_NS;
}

static void lane_hold(struct lane *lane, const struct lane_batch *batch, uint64_t now_ns)
{
	uint64_t wait_ns = 0;

	if (!batch->progress && !batch->paced) {
		wait_ns = lane_pause_ns(lane);
		++lane->failures;
	}
	wait_ns = MAX(wait_ns, batch->retry_after_ms * MS_NS);
	lane->hold_ns = MAX(lane->hold_ns, now_ns + wait_ns);
}

// While nothing succeeds batches are tried one by one at half of the pause, so that one that could
// be sent gets its turn beside those that cannot.
static void lane_park(struct lane *lane, struct lane_batch *batch, uint64_t now_ns)
{
	if (!batch->progress && ++lane->failures >= LANE_ALL_FAIL)
		lane->hold_ns = MAX(lane->hold_ns, now_ns + lane_pause_ns(lane) / 2);
	parked_put(&lane->parked, batch, now_ns);
}

static bool chosen_ended(const struct lane_entry *entry, const uint8_t *record, const void *arg)
{
	return (entry->flags & LANE_ENDED) != 0;
}

void lane_settle(struct lane *lane, struct lane_batch *batch, uint64_t now_ns)
{
	uint64_t charge = batch_charge(batch);
	bool repeated = batch->entries->attempts > 1;

	list_unlink(&batch->node);
	--lane->sent_count;
	lane->sent_keyed -= batch->keyed > 0;
	lane->messages -= batch->ended;
	batch->over = batch->ended = 0;
	batch->number = 0;
	if (batch->progress)
		lane->failures = 0;
	batch_divide(batch, NULL, chosen_ended, NULL);
	lane->memory -= charge - batch_charge(batch);
	if (batch->count == 0) {
		if (repeated)
			lane->parked.rounds = 0;
		lane_drop(lane, batch);
		return;
	}
	if (batch->alone) {
		lane_park(lane, batch, now_ns);
	} else {
		lane_hold(lane, batch, now_ns);
		list_push_front(&lane->waiting, &batch->node);
	}
	batch->retry_after_ms = 0;
	batch->progress = false;
	batch->paced = true;
	batch->alone = true;
}

// ---- Ends without an answer -----------------------------------------------------------------

static void entry_end(struct lane_batch *batch, uint32_t index, enum mqp_code code,
		      lane_report_fn report, void *ctx)
{
	struct lane_entry *entry = &batch->entries[index];
	bool maybe_stored = (entry->flags & LANE_MAYBE_STORED) || batch->number > 0;
	struct mqp_result result;

	result_clear(&result);
	result.outcome = maybe_stored ? MQP_OUTCOME_UNKNOWN : MQP_OUTCOME_REJECTED;
	// Why it was refused so far tells more than that time ran out.
	result.code = code;
	if (code == MQP_TIMEOUT && batch->number == 0 && entry->code != MQP_OK)
		result.code = (enum mqp_code)entry->code;
	entry_report(batch, index, &result, report, ctx);
}

static bool chosen_late(const struct lane_entry *entry, const uint8_t *record, const void *arg)
{
	return entry->deadline_ns <= *(const uint64_t *)arg;
}

// Takes the late entries of one batch. NULL: it has none, or there is no memory.
static struct lane_batch *lane_expire(struct lane *lane, struct lane_batch *batch, uint64_t now_ns)
{
	struct lane_batch *late;

	if (batch->count == 0 || batch->deadline_ns > now_ns || batch_new_like(batch, &late) < 0)
		return NULL;
	batch_divide(batch, late, chosen_late, &now_ns);
	if (batch->count == 0)
		lane_forget(lane, batch);
	return late;
}

static struct lane_batch *lane_expire_of(struct lane *lane, struct list *batches, uint64_t now_ns)
{
	LIST_FOREACH(node, next, batches)
	{
		struct lane_batch *late =
			lane_expire(lane, LIST_ENTRY(node, struct lane_batch, node), now_ns);

		if (late)
			return late;
	}
	return NULL;
}

struct lane_batch *lane_expired(struct lane *lane, uint64_t now_ns, bool everything)
{
	struct lane_batch *late;

	if (everything)
		now_ns = UINT64_MAX;
	else if (now_ns < lane->soonest_ns)
		return NULL;
	late = lane_expire_of(lane, &lane->waiting, now_ns);
	if (!late)
		late = lane_expire_of(lane, &lane->parked.batches, now_ns);
	if (!late && lane->open)
		late = lane_expire(lane, lane->open, now_ns);
	return late;
}

void lane_end(struct lane_batch *batch, enum mqp_code code, lane_report_fn report, void *ctx)
{
	for (uint32_t i = 0; i < batch->count; ++i)
		entry_end(batch, i, code, report, ctx);
}

static void batch_end_late(struct lane_batch *batch, uint64_t now_ns, enum mqp_code code,
			   lane_report_fn report, void *ctx)
{
	if (batch->deadline_ns > now_ns)
		return;
	batch->deadline_ns = UINT64_MAX;
	for (uint32_t i = 0; i < batch->count; ++i) {
		struct lane_entry *entry = &batch->entries[i];

		if (entry->flags & LANE_ENDED)
			continue;
		if (entry->deadline_ns <= now_ns)
			entry_end(batch, i, code, report, ctx);
		else
			batch->deadline_ns = MIN(batch->deadline_ns, entry->deadline_ns);
	}
}

void lane_end_sent(struct lane *lane, uint64_t now_ns, bool everything, enum mqp_code code,
		   lane_report_fn report, void *ctx)
{
	LIST_FOREACH(node, next, &lane->sent)
	{
		struct lane_batch *batch = LIST_ENTRY(node, struct lane_batch, node);

		batch_end_late(batch, everything ? UINT64_MAX - 1 : now_ns, code, report, ctx);
	}
}

void lane_count_ended(struct lane *lane)
{
	LIST_FOREACH(node, next, &lane->sent)
	{
		struct lane_batch *batch = LIST_ENTRY(node, struct lane_batch, node);

		lane->messages -= batch->ended;
		batch->over += batch->ended;
		batch->ended = 0;
	}
}

void lane_drop(struct lane *lane, struct lane_batch *batch)
{
	lane->memory -= batch_charge(batch);
	lane->messages -= batch->ended;
	// A buffer that a connection still writes from must not be filled again.
	if (lane->spare_count >= LANE_SPARE_MAX || buf_shared(batch->buf)) {
		batch_free(batch);
		return;
	}
	batch_empty(batch);
	list_push_front(&lane->spare, &batch->node);
	++lane->spare_count;
}

bool lane_waits(const struct lane *lane)
{
	return lane_front(lane) != NULL;
}

uint64_t lane_flush(struct lane *lane)
{
	if (lane->open && lane->open->count > 0)
		lane_seal(lane);
	return lane->next_serial;
}

static bool list_over(const struct list *batches, uint64_t serial)
{
	LIST_FOREACH(node, next, batches)
	{
		const struct lane_batch *batch = LIST_ENTRY(node, struct lane_batch, node);

		if (batch->serial <= serial && batch->over < batch->count)
			return false;
	}
	return true;
}

bool lane_flushed(const struct lane *lane, uint64_t serial)
{
	return list_over(&lane->waiting, serial) && list_over(&lane->parked.batches, serial) &&
	       list_over(&lane->sent, serial);
}

static uint64_t list_deadline(const struct list *batches, uint64_t next_ns)
{
	LIST_FOREACH(node, next, batches)
	next_ns = MIN(next_ns, LIST_ENTRY(node, struct lane_batch, node)->deadline_ns);
	return next_ns;
}

// Looked for among all batches only when the one known so far has passed: as a rule it was met.
static uint64_t lane_soonest(struct lane *lane, uint64_t now_ns)
{
	uint64_t next_ns = lane->open ? lane->open->deadline_ns : UINT64_MAX;

	if (lane->messages == 0) {
		lane->soonest_ns = UINT64_MAX;
	} else if (lane->soonest_ns <= now_ns) {
		next_ns = list_deadline(&lane->sent, list_deadline(&lane->waiting, next_ns));
		lane->soonest_ns = list_deadline(&lane->parked.batches, next_ns);
	}
	return lane->soonest_ns;
}

uint64_t lane_next_ns(struct lane *lane, uint64_t now_ns)
{
	const struct lane_batch *front = lane_front(lane);
	uint64_t next_ns = lane_soonest(lane, now_ns);

	if (!list_empty(&lane->parked.batches) && lane->parked.until_ns > now_ns)
		next_ns = MIN(next_ns, lane->parked.until_ns);
	if (front && lane->hold_ns > now_ns)
		next_ns = MIN(next_ns, lane->hold_ns);
	if (front && lane_lingers(lane, front, now_ns))
		next_ns = MIN(next_ns, front->first_ns + lane->config.linger_ns);
	return next_ns;
}
