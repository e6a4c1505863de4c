// Makes the states of messages durable: cursors with their windows, and rows of the retry store.
//
// At most one commit is under way; a settle that waits for durability starts the next at once,
// other changes are committed soon (source_state.c). A commit takes all partitions that changed and
// all writes of the retry store. What failed is written again, together with what has come since;
// settles that waited for it are told the code.
//
// Invariants: no cursor is committed without all writes of the retry store that came before it; a
// settle that waits is called once, when the commit that holds it has an answer or the source ends.
// How the backend keeps the two together is its own concern (log_ops.commit).

#include "adapters/log/source_commit.h"

#include "adapters/log/source_clock.h"
#include "adapters/log/source_retry.h"
#include "adapters/log/window_text.h"

bool source_commit_add_waiter(struct source *source, void (*done)(void *ctx, enum code code),
			      void *ctx)
{
	struct waiter *waiter = malloc(sizeof *waiter);

	if (!waiter)
		return false;
	*waiter = (struct waiter){NULL, done, ctx};
	*source->waiters_end = waiter;
	source->waiters_end = &waiter->next;
	return true;
}

static struct waiter *waiters_take(struct source *source)
{
	struct waiter *waiters = source->waiters;

	source->waiters = NULL;
	source->waiters_end = &source->waiters;
	return waiters;
}

static void waiters_call(struct waiter *waiter, enum code code)
{
	while (waiter) {
		struct waiter *next = waiter->next;

		waiter->done(waiter->ctx, code);
		free(waiter);
		waiter = next;
	}
}

bool source_commit_pending(const struct source *source)
{
	if (source->retries.count || source->cursors.retry_count)
		return true;
	for (uint32_t i = 0; i < source->part_count; ++i)
		if (source->parts[i].dirty)
			return true;
	return false;
}

static void cursors_clear(struct source *source)
{
	for (uint32_t i = 0; i < source->cursors.count; ++i)
		free(source->cursors.cursors[i].text);
	source->cursors.count = 0;
}

// What did not become durable is dirty again; the writes of the retry store stay in the commit.
static void commit_undo(struct source *source)
{
	const struct log_cursors *commit = &source->cursors;

	for (uint32_t i = 0; i < commit->count; ++i)
		source->parts[commit->cursors[i].partition].dirty = true;
	source->commit_at_ns = loop_now_ns(source->config.loop) + SOURCE_RETRY_NS;
}

static void claim_done(struct source *source, enum code code)
{
	if (code == CODE_OK)
		source_state_set_phase(source, PHASE_OPEN);
	else if (code == CODE_NOT_FOUND)
		source_state_set_phase(source, PHASE_GONE);
	source_state_set(source,
			 code == CODE_OK          ? SOURCE_READY
			 : code == CODE_NOT_FOUND ? SOURCE_GONE
						  : SOURCE_DOWN,
			 code, code == CODE_OK ? NULL : "the group's position cannot be written");
}

static void commit_done(struct loop_task *task)
{
	struct source *source = CONTAINER_OF(task, struct source, cursors.task);
	struct waiter *waiters = source->waiters_under_way;
	enum code code = source->cursors.code;

	source->committing = false;
	source->waiters_under_way = NULL;
	source->commit_failed = code != CODE_OK;
	source->commit_code = code;
	if (code == CODE_OK) {
		source_retry_committed(source, source->cursors.retries,
				       source->cursors.retry_count);
		source->cursors.retry_count = 0;
	} else {
		commit_undo(source);
	}
	cursors_clear(source);
	if (code == CODE_STALE) {
		source_state_set_gone(source, "the group has begun anew with another owner");
	} else if (source->phase == PHASE_CLAIMING) {
		claim_done(source, code);
	}
	waiters_call(waiters, code);
	source_state_pump_later(source);
}

// All writes of the retry store become part of the commit, behind those of one that failed. false:
// no memory; then no cursor may go with it, because it could be ahead of a write that stays behind.
static bool retries_gather(struct source *source)
{
	struct log_cursors *commit = &source->cursors;
	struct retry_list *list = &source->retries;
	uint32_t all = commit->retry_count + list->count;
	struct log_retry *items;

	if (commit->retry_count == 0) {
		struct retry_list empty = {commit->retries, 0, source->retries_room};

		commit->retries = list->items;
		commit->retry_count = list->count;
		source->retries_room = list->room;
		*list = empty;
		return true;
	}
	if (list->count == 0)
		return true;
	items = realloc(commit->retries, all * sizeof *items);
	if (!items)
		return false;
	memcpy(items + commit->retry_count, list->items, list->count * sizeof *items);
	commit->retries = items;
	commit->retry_count = source->retries_room = all;
	list->count = 0;
	return true;
}

// false: no memory for some; they stay dirty.
static bool cursors_gather(struct source *source)
{
	struct log_cursors *commit = &source->cursors;
	uint64_t now_ms = source_clock_read(source).steady_ms;

	for (uint32_t i = 0; i < source->part_count; ++i) {
		struct part *part = &source->parts[i];
		char *text;

		if (!part->dirty)
			continue;
		part->window.shift_ms = source->clock.shift_ms;
		text = window_text_encode(&part->window, source->epoch, now_ms);
		if (!text)
			return false;
		part->dirty = false;
		commit->cursors[commit->count++] = (struct log_cursor){
			.position = part->window.base, .text = text, .partition = part->number};
	}
	return true;
}

// What would be put aside does not fit into what the tenant may store. Removals pass.
static bool reserve_refuses(const struct source *source)
{
	const struct log_cursors *commit = &source->cursors;
	const bool *full = source->config.reserve_full;

	if (!full || !__atomic_load_n(full, __ATOMIC_ACQUIRE))
		return false;
	for (uint32_t i = 0; i < commit->retry_count; ++i)
		if (commit->retries[i].put)
			return true;
	return false;
}

static void commit_start(struct source *source)
{
	bool complete = retries_gather(source) && cursors_gather(source);

	source->commit_at_ns = complete ? 0 : loop_now_ns(source->config.loop) + SOURCE_RETRY_NS;
	if (complete)
		source->waiters_under_way = waiters_take(source);
	source->committing = true;
	source->cursors.epoch = source->epoch;
	source->cursors.task.fn = commit_done;
	if (reserve_refuses(source)) {
		source->cursors.code = CODE_LIMIT_EXCEEDED;
		loop_post(source->config.loop, &source->cursors.task);
		return;
	}
	source->ops->commit(source->adapter, &source->cursors);
}

void source_commit_claim(struct source *source)
{
	source_state_set_phase(source, PHASE_CLAIMING);
	source->parts[0].dirty = true;
	commit_start(source);
}

uint64_t source_commit_if_due(struct source *source, uint64_t now_ns)
{
	bool hurry = (source->waiters || source->closing) && !source->commit_failed;

	if (source->committing || source->phase < PHASE_CLAIMING)
		return UINT64_MAX;
	if (source->phase == PHASE_GONE || !source_commit_pending(source)) {
		// Settles that changed nothing wait for nothing.
		waiters_call(waiters_take(source),
			     source->phase == PHASE_GONE ? CODE_NOT_FOUND : CODE_OK);
		return UINT64_MAX;
	}
	if (!hurry && now_ns < source->commit_at_ns)
		return source->commit_at_ns;
	commit_start(source);
	return UINT64_MAX;
}

void source_commit_end_waiters(struct source *source)
{
	waiters_call(waiters_take(source), source->commit_failed         ? source->commit_code
					   : source->phase == PHASE_OPEN ? CODE_OK
									 : CODE_NOT_FOUND);
}

void source_commit_deinit(struct source *source)
{
	cursors_clear(source);
	free(source->cursors.cursors);
	free(source->cursors.retries);
}
