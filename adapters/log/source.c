// A source over a log: fetches ranges, keeps an ack window a partition, hands out what is due again
// before what is new, commits.
//
// Everything runs on the home loop. Each partition has at most one fetch under way; what a fetch
// brought and demand did not take is kept (the stash) and handed out first when demand comes. A
// redelivery is fetched again from the log: no body is kept while it is in flight.
//
// Commits are coalesced: at most one is under way; a settle that waits for durability starts the
// next at once, others leave within COMMIT_IDLE_NS. A commit takes all partitions that changed. One
// that fails is tried again after RETRY_NS; settles that waited for it are told the code.

#include "adapters/log/log.h"
#include "adapters/log/window.h"
#include "core/base/clock.h"
#include "core/wire/record.h"

#include <errno.h>

#define FETCH_MESSAGES 4096u
#define FETCH_BYTES    (512u << 10)
#define DELIVER_BATCH  256u
#define COMMIT_IDLE_NS (500 * MS_NS)
#define RETRY_NS       S_NS

struct part {
	struct source *source;
	struct window window;
	struct log_fetch fetch; // under way
	struct log_fetch stash; // came, not all handed out; buf NULL: none
	uint32_t stash_at;
	uint32_t number;
	bool fetching, redelivering; // the fetch is for positions that wait
	bool dirty;
	bool failed; // the last fetch failed: wait for the timer
};

struct waiter {
	struct waiter *next;
	void (*done)(void *ctx, enum code code);
	void *ctx;
};

struct source {
	struct adapter *adapter;
	const struct log_ops *ops;
	struct source_config config;
	struct part *parts;
	uint32_t part_count, turn;
	uint32_t text_limit;

	uint32_t demand_messages;
	uint64_t demand_bytes;
	bool demand_fresh; // nothing was handed out since it was set: one message of any size may
			   // go

	struct delivery deliveries[DELIVER_BATCH];
	size_t delivery_count;

	struct log_cursors cursors; // the load, then commits
	bool loading, load_failed, committing, commit_failed;
	struct waiter *waiters, *waiters_under_way;
	uint64_t dirty_since_ns;

	struct log_watch watch;
	struct loop_timer timer;
	enum source_state state;
	uint64_t epoch;
	bool pumping, pump_again;

	bool closing;
	void (*closed)(void *ctx);
	void *closed_ctx;
};

static void source_pump(struct source *source);

// ---- the end

static bool fetches_under_way(const struct source *source)
{
	for (uint32_t i = 0; i < source->part_count; ++i)
		if (source->parts[i].fetching)
			return true;
	return false;
}

static bool is_dirty(const struct source *source)
{
	for (uint32_t i = 0; i < source->part_count; ++i)
		if (source->parts[i].dirty)
			return true;
	return false;
}

static void source_free(void *memory)
{
	struct source *source = memory;

	for (uint32_t i = 0; i < source->part_count; ++i) {
		window_deinit(&source->parts[i].window);
		buf_unref(source->parts[i].stash.buf);
	}
	free(source->cursors.cursors);
	free(source->parts);
	model_unref(source->config.group);
	model_unref(source->config.topic);
	free(source);
}

// Ends a closing source as soon as nothing of it is on its way any more.
static bool close_if_quiet(struct source *source)
{
	if (!source->closing || source->loading || source->committing || fetches_under_way(source))
		return false;
	if (is_dirty(source) && !source->commit_failed)
		return false;
	if (__atomic_load_n(&source->watch.posted, __ATOMIC_ACQUIRE))
		return false;
	loop_timer_cancel(&source->timer);
	source->closed(source->closed_ctx);
	loop_bury(source->config.loop, source, source_free);
	return true;
}

static void state_set(struct source *source, enum source_state state, enum code code,
		      const char *text)
{
	if (source->state == state || source->closing)
		return;
	source->state = state;
	source->config.handlers->state(source->config.ctx, state, code, text);
}

// ---- commits

static void waiters_call(struct waiter *waiters, enum code code)
{
	struct waiter *in_order = NULL;

	while (waiters) {
		struct waiter *next = waiters->next;

		waiters->next = in_order;
		in_order = waiters;
		waiters = next;
	}
	while (in_order) {
		struct waiter *waiter = in_order;

		in_order = waiter->next;
		waiter->done(waiter->ctx, code);
		free(waiter);
	}
}

static void cursors_clear(struct source *source)
{
	for (uint32_t i = 0; i < source->cursors.count; ++i)
		free(source->cursors.cursors[i].text);
	source->cursors.count = 0;
}

static void commit_done(struct loop_task *task)
{
	struct source *source = CONTAINER_OF(task, struct source, cursors.task);
	struct waiter *waiters = source->waiters_under_way;
	enum code code = source->cursors.code;

	source->committing = false;
	source->waiters_under_way = NULL;
	source->commit_failed = code != CODE_OK;
	if (code != CODE_OK) {
		for (uint32_t i = 0; i < source->cursors.count; ++i)
			source->parts[source->cursors.cursors[i].partition].dirty = true;
		source->dirty_since_ns =
			loop_now_ns(source->config.loop) + RETRY_NS - COMMIT_IDLE_NS;
	}
	cursors_clear(source);
	waiters_call(waiters, code);
	source_pump(source);
}

static void commit_start(struct source *source)
{
	struct log_cursors *commit = &source->cursors;

	for (uint32_t i = 0; i < source->part_count; ++i) {
		struct part *part = &source->parts[i];
		char *text = part->dirty ? window_encode(&part->window, source->epoch) : NULL;

		if (!text)
			continue;
		part->dirty = false;
		commit->cursors[commit->count++] =
			(struct log_cursor){part->window.base, text, part->number};
	}
	source->waiters_under_way = source->waiters;
	source->waiters = NULL;
	source->committing = true;
	source->dirty_since_ns = 0;
	commit->task.fn = commit_done;
	source->ops->commit(source->adapter, commit);
}

// Starts a commit if one is wanted now; returns when to look again.
static uint64_t commit_if_due(struct source *source, uint64_t now_ns)
{
	if (source->loading || source->committing || !is_dirty(source)) {
		if (source->waiters && !source->committing && !source->loading) {
			struct waiter *waiters = source->waiters;

			// Settles that changed nothing wait for nothing.
			source->waiters = NULL;
			waiters_call(waiters, CODE_OK);
		}
		return UINT64_MAX;
	}
	if (!source->dirty_since_ns)
		source->dirty_since_ns = now_ns;
	if ((source->waiters && !source->commit_failed) ||
	    (source->closing && !source->commit_failed) ||
	    now_ns >= source->dirty_since_ns + COMMIT_IDLE_NS) {
		commit_start(source);
		return UINT64_MAX;
	}
	return source->dirty_since_ns + COMMIT_IDLE_NS;
}

// ---- handing out

static void deliveries_flush(struct source *source)
{
	size_t count = source->delivery_count;

	source->delivery_count = 0;
	if (count)
		source->config.handlers->deliver(source->config.ctx, source->deliveries, count);
}

static bool demand_allows(const struct source *source, uint32_t size)
{
	return source->demand_messages > 0 &&
	       (size <= source->demand_bytes || source->demand_fresh);
}

static void deliver(struct part *part, const struct log_entry *entry, struct buf *buf,
		    uint32_t attempt)
{
	struct source *source = part->source;

	source->deliveries[source->delivery_count++] = (struct delivery){
		.offset = entry->offset,
		.epoch = source->epoch,
		.stored_ms = entry->stored_ms,
		.record = entry->record,
		.size = entry->size,
		.partition = part->number,
		.attempt = attempt,
		.buf = buf,
	};
	--source->demand_messages;
	source->demand_bytes -= MIN(source->demand_bytes, (uint64_t)entry->size);
	source->demand_fresh = false;
	if (source->delivery_count == DELIVER_BATCH)
		deliveries_flush(source);
}

// When a record may be delivered and when no more; due 0 and expiry UINT64_MAX when it says
// nothing.
static void record_times(const uint8_t *record, uint64_t *ret_due_ms, uint64_t *ret_expiry_ms)
{
	struct record_view view;

	*ret_due_ms = 0;
	*ret_expiry_ms = UINT64_MAX;
	if (!(record_flags(record) & (RECORD_DUE | RECORD_TTL)))
		return;
	record_read(record, &view);
	if (view.flags & RECORD_DUE)
		*ret_due_ms = (uint64_t)MAX(view.due_ms, 0);
	if (view.flags & RECORD_TTL)
		*ret_expiry_ms =
			(uint64_t)MAX(MAX(view.created_ms, (int64_t)*ret_due_ms), 0) + view.ttl_ms;
}

// One new record: handed out, held back, or dropped. false: not now. Negative memory errors look
// like "not now": the record stays in the stash.
static bool new_entry(struct part *part, const struct log_entry *entry, uint64_t now_ms)
{
	uint64_t due_ms, expiry_ms;

	if (entry->offset < window_next(&part->window))
		return true; // truncated while it lay in the stash
	if (window_full(&part->window))
		return false;
	record_times(entry->record, &due_ms, &expiry_ms);
	if (now_ms > expiry_ms) {
		part->dirty = true;
		return window_add_done(&part->window, entry->offset) == 0;
	}
	if (due_ms > now_ms) {
		part->dirty = true;
		return window_add_delayed(&part->window, entry->offset, due_ms) == 0;
	}
	if (!demand_allows(part->source, entry->size) ||
	    window_add_flight(&part->window, entry->offset) < 0)
		return false;
	deliver(part, entry, part->stash.buf, 1);
	return true;
}

static void stash_hand_out(struct part *part, uint64_t now_ms)
{
	while (part->stash_at < part->stash.count &&
	       new_entry(part, &part->stash.entries[part->stash_at], now_ms))
		++part->stash_at;
	if (part->stash_at == part->stash.count) {
		deliveries_flush(part->source);
		part->stash.buf = buf_unref(part->stash.buf);
	}
}

// What was fetched again: positions may have been settled, truncated or have expired meanwhile.
static void redelivery_hand_out(struct part *part, const struct log_fetch *fetch, uint64_t now_ms)
{
	uint64_t passed = fetch->offset;

	for (uint32_t i = 0; i < fetch->count; ++i) {
		const struct log_entry *entry = &fetch->entries[i];
		uint64_t due_ms, expiry_ms;

		for (; passed < entry->offset; ++passed)
			window_drop(&part->window, passed);
		passed = entry->offset + 1;
		record_times(entry->record, &due_ms, &expiry_ms);
		if (now_ms > expiry_ms) {
			window_drop(&part->window, entry->offset);
			part->dirty = true;
		} else if (demand_allows(part->source, entry->size)) {
			uint32_t attempt = window_take(&part->window, entry->offset, now_ms);

			if (attempt)
				deliver(part, entry, fetch->buf, attempt);
		}
	}
	if (fetch->count == 0)
		window_drop(&part->window, fetch->offset);
	deliveries_flush(part->source);
}

// ---- fetching

static void fetch_done(struct loop_task *task)
{
	struct part *part = CONTAINER_OF(task, struct part, fetch.task);
	struct source *source = part->source;
	struct log_fetch *fetch = &part->fetch;

	part->fetching = false;
	if (source->closing) {
		buf_unref(fetch->buf);
		close_if_quiet(source);
		return;
	}
	if (fetch->code != CODE_OK) {
		part->failed = true;
		buf_unref(fetch->buf);
		state_set(source, fetch->code == CODE_NOT_FOUND ? SOURCE_GONE : SOURCE_DOWN,
			  fetch->code, "reading the topic failed");
	} else if (part->redelivering) {
		struct log_fetch came = *fetch;

		part->failed = false;
		// Whoever takes a delivery may ask for more at once: the pump must not start over
		// part->fetch meanwhile.
		source->pumping = true;
		redelivery_hand_out(part, &came, (uint64_t)clock_wall_ms());
		source->pumping = false;
		buf_unref(came.buf);
	} else if (fetch->count) {
		part->failed = false;
		part->stash = *fetch;
		part->stash_at = 0;
	}
	fetch->buf = NULL;
	source_pump(source);
}

static void fetch_start(struct part *part, uint64_t offset, uint32_t max_messages,
			bool redelivering)
{
	struct source *source = part->source;

	part->fetching = true;
	part->redelivering = redelivering;
	part->fetch = (struct log_fetch){
		.task = {.fn = fetch_done},
		.loop = source->config.loop,
		.topic = source->config.adapter_topic,
		.offset = offset,
		.partition = part->number,
		.max_messages = max_messages,
		.max_bytes = FETCH_BYTES,
	};
	source->ops->fetch(source->adapter, &part->fetch);
}

// Redeliveries first, then the stash, then something new. Returns true if it changed anything that
// a second look would use.
static void part_pump(struct part *part, uint64_t now_ms)
{
	struct source *source = part->source;
	uint64_t first, end, offset;

	if (part->failed || source->demand_messages == 0)
		return;
	source->ops->bounds(source->config.adapter_topic, part->number, &first, &end);
	if (part->window.base < first) {
		window_truncate(&part->window, first);
		part->dirty = true;
	}
	if (!part->fetching && window_peek(&part->window, now_ms, &offset)) {
		uint32_t run = window_run(&part->window, offset, now_ms,
					  MIN(source->demand_messages, FETCH_MESSAGES));

		fetch_start(part, offset, MAX(run, 1u), true);
		return;
	}
	if (part->fetching && part->redelivering)
		return;
	if (part->stash.buf)
		stash_hand_out(part, now_ms);
	if (!part->fetching && !part->stash.buf && !window_full(&part->window) &&
	    window_next(&part->window) < end)
		fetch_start(part, window_next(&part->window), FETCH_MESSAGES, false);
}

static bool any_window_full(const struct source *source)
{
	for (uint32_t i = 0; i < source->part_count; ++i)
		if (window_full(&source->parts[i].window))
			return true;
	return false;
}

// When the next waiting position is due, on the monotonic clock.
static uint64_t next_due_ns(struct source *source, uint64_t now_ns, uint64_t now_ms)
{
	uint64_t due_ms = UINT64_MAX;

	for (uint32_t i = 0; i < source->part_count; ++i) {
		struct part *part = &source->parts[i];

		if (part->failed)
			due_ms = MIN(due_ms, now_ms + RETRY_NS / MS_NS);
		// What is due already waits for a fetch or for demand, not for the clock.
		if (!part->fetching && window_next_due_ms(&part->window) > now_ms)
			due_ms = MIN(due_ms, window_next_due_ms(&part->window));
	}
	// The wall clock may jump, so it is looked at once a second at least while something waits.
	return due_ms == UINT64_MAX ? UINT64_MAX : now_ns + MIN(due_ms - now_ms, 1000ull) * MS_NS;
}

static void source_pump(struct source *source)
{
	uint64_t now_ns, now_ms, wake_ns;

	if (close_if_quiet(source))
		return;
	if (source->pumping) {
		source->pump_again = true;
		return;
	}
	source->pumping = true;
	do {
		source->pump_again = false;
		now_ms = (uint64_t)clock_wall_ms();
		if (!source->loading && !source->load_failed && !source->closing) {
			for (uint32_t i = 0; i < source->part_count; ++i)
				part_pump(&source->parts[(source->turn + i) % source->part_count],
					  now_ms);
			++source->turn;
			deliveries_flush(source);
		}
	} while (source->pump_again);
	source->pumping = false;

	now_ns = loop_now_ns(source->config.loop);
	wake_ns = commit_if_due(source, now_ns);
	if (source->load_failed && source->state == SOURCE_DOWN)
		wake_ns = MIN(wake_ns, now_ns + RETRY_NS);
	if (!source->closing && !source->loading && !source->load_failed) {
		wake_ns = MIN(wake_ns, next_due_ns(source, now_ns, now_ms));
		if (source->state == SOURCE_READY && any_window_full(source))
			state_set(source, SOURCE_WINDOW_FULL, CODE_OK,
				  "too many positions are open; acknowledge the oldest");
		else if (source->state == SOURCE_WINDOW_FULL && !any_window_full(source))
			state_set(source, SOURCE_READY, CODE_OK, NULL);
	}
	if (wake_ns == UINT64_MAX)
		loop_timer_cancel(&source->timer);
	else
		loop_timer_set(&source->timer, wake_ns);
}

static void load_done(struct loop_task *task)
{
	struct source *source = CONTAINER_OF(task, struct source, cursors.task);
	enum code code = source->cursors.code;

	source->loading = false;
	for (uint32_t i = 0; code == CODE_OK && i < source->part_count; ++i) {
		const struct log_cursor *cursor = &source->cursors.cursors[i];
		struct part *part = &source->parts[i];
		uint64_t epoch;

		window_init(&part->window, cursor->position, source->text_limit);
		if (window_decode(&part->window, cursor->text, &epoch) < 0)
			code = CODE_OVERLOADED;
		source->epoch = MAX(source->epoch, epoch);
		part->dirty = true;
	}
	if (code != CODE_OK)
		for (uint32_t i = 0; i < source->part_count; ++i)
			source->parts[i].dirty = false;
	cursors_clear(source);
	source->epoch = source->config.epoch ? source->config.epoch : source->epoch + 1;
	source->load_failed = code != CODE_OK;
	if (code == CODE_OK)
		state_set(source, SOURCE_READY, CODE_OK, NULL);
	else
		state_set(source, code == CODE_NOT_FOUND ? SOURCE_GONE : SOURCE_DOWN, code,
			  "the group's position cannot be read");
	source_pump(source);
}

static void load_start(struct source *source)
{
	source->loading = true;
	source->load_failed = false;
	source->cursors.task.fn = load_done;
	source->cursors.count = source->part_count;
	source->ops->load(source->adapter, &source->cursors);
}

static void on_timer(struct loop_timer *timer)
{
	struct source *source = CONTAINER_OF(timer, struct source, timer);
	bool failed = false;

	for (uint32_t i = 0; i < source->part_count; ++i) {
		failed = failed || source->parts[i].failed;
		source->parts[i].failed = false;
	}
	if (failed && source->state == SOURCE_DOWN && !source->load_failed)
		state_set(source, SOURCE_READY, CODE_OK, NULL);
	if (source->load_failed && source->state == SOURCE_DOWN && !source->closing)
		load_start(source);
	source_pump(source);
}

static void on_append(struct loop_task *task)
{
	struct source *source = CONTAINER_OF(task, struct source, watch.task);

	__atomic_store_n(&source->watch.posted, false, __ATOMIC_RELEASE);
	source_pump(source);
}

// ---- slots

int log_source_open(struct adapter *adapter, const struct log_ops *ops, uint32_t text_limit,
		    const struct source_config *config, struct source **ret)
{
	uint32_t count = config->topic->partitions;
	struct source *source = calloc(1, sizeof *source);

	if (!source)
		return -ENOMEM;
	source->parts = calloc(count, sizeof *source->parts);
	source->cursors.cursors = calloc(count, sizeof *source->cursors.cursors);
	if (!source->parts || !source->cursors.cursors) {
		free(source->parts);
		free(source->cursors.cursors);
		free(source);
		return -ENOMEM;
	}
	source->adapter = adapter;
	source->ops = ops;
	source->config = *config;
	source->config.group = model_ref(config->group);
	source->config.topic = model_ref(config->topic);
	source->part_count = count;
	source->text_limit = text_limit;
	source->state = SOURCE_OPENING;
	for (uint32_t i = 0; i < count; ++i) {
		source->parts[i].source = source;
		source->parts[i].number = i;
	}
	loop_timer_init(&source->timer, config->loop, on_timer);
	source->watch.task.fn = on_append;
	source->watch.loop = config->loop;
	ops->watch(config->adapter_topic, &source->watch);
	source->cursors.loop = config->loop;
	source->cursors.topic = config->adapter_topic;
	source->cursors.group = source->config.group;
	load_start(source);
	*ret = source;
	return 0;
}

void log_source_demand(struct source *source, uint32_t messages, uint64_t bytes)
{
	if (source->state == SOURCE_GONE)
		return;
	source->demand_messages = messages;
	source->demand_bytes = bytes;
	source->demand_fresh = true;
	source_pump(source);
}

static bool settle_one(struct part *part, const struct settle *settle, uint64_t offset,
		       uint64_t now_ms)
{
	switch (settle->verb) {
	case SETTLE_ACK: return window_ack(&part->window, offset, settle->attempt);
	case SETTLE_NACK:
		return window_nack(&part->window, offset, settle->attempt,
				   settle->delay_ms ? now_ms + settle->delay_ms : 0);
	case SETTLE_RELEASE: return window_release(&part->window, offset, settle->attempt);
	default: return false;
	}
}

void log_source_settle(struct source *source, struct settle *settles, size_t count,
		       void (*done)(void *ctx, enum code code), void *ctx)
{
	uint64_t now_ms = (uint64_t)clock_wall_ms();
	struct waiter *waiter = done ? malloc(sizeof *waiter) : NULL;

	for (size_t i = 0; i < count; ++i) {
		struct settle *settle = &settles[i];
		struct part *part = settle->partition < source->part_count
					    ? &source->parts[settle->partition]
					    : NULL;

		settle->settled = 0;
		if (part && settle->epoch == source->epoch)
			for (uint32_t at = 0; at < settle->count; ++at)
				settle->settled +=
					settle_one(part, settle, settle->offset + at, now_ms);
		settle->code = settle->settled == settle->count ? CODE_OK : CODE_STALE;
		if (settle->settled)
			part->dirty = true;
	}
	if (waiter) {
		*waiter = (struct waiter){source->waiters, done, ctx};
		source->waiters = waiter;
	} else if (done) {
		done(ctx, CODE_OVERLOADED);
	}
	// The pump may call back; it runs when the caller is done.
	loop_timer_set(&source->timer, loop_now_ns(source->config.loop));
}

size_t log_source_backlog(struct source *source, struct source_partition *partitions, size_t room)
{
	uint32_t count = MIN((uint32_t)room, source->part_count);

	for (uint32_t i = 0; i < count; ++i) {
		const struct window *window = &source->parts[i].window;
		uint64_t first, end, next = window_next(window);

		source->ops->bounds(source->config.adapter_topic, i, &first, &end);
		partitions[i] = (struct source_partition){
			.first = first,
			.end = end,
			.committed = window->base,
			.ready = (end > MAX(next, first) ? end - MAX(next, first) : 0) +
				 window->untried,
			.in_flight = window->flight,
			.retrying = window->retrying,
			.delayed = window->delayed,
			.partition = i,
			.window_full = window_full(window),
		};
	}
	return source->loading ? 0 : count;
}

void log_source_close(struct source *source, void (*done)(void *ctx), void *ctx)
{
	source->closing = true;
	source->closed = done;
	source->closed_ctx = ctx;
	source->ops->unwatch(source->config.adapter_topic, &source->watch);
	loop_timer_set(&source->timer, loop_now_ns(source->config.loop));
}
