// Reads the topic for a source: ranges of new positions and of open ones, a partition at a time.
//
// Each partition reads at most one range of new positions (fetch) and one of open positions (again)
// at a time. New ones are read one range ahead: the stash is what is handed out now; behind it
// waits what has arrived. A redelivery is read again: no body is kept while it is in flight.
//
// A message whose own due time has not come goes to the retry store. Expired messages, and
// positions of which the log has no record any more, are skipped. Positions at the end of a range
// without a record are done.
//
// Invariants: new positions of a partition are handed out in order; nothing new is handed out while
// an open position waits to be read; read_at is behind everything that the stash and the fetch
// hold; their bytes are counted (source_memory.c) from the start of the read until the buffer goes.
// This file neither settles nor commits.

#include "adapters/log/source_read.h"

#include "adapters/log/source_clock.h"
#include "adapters/log/source_delivery.h"
#include "adapters/log/source_memory.h"
#include "adapters/log/source_retry.h"

#define FETCH_MESSAGES 4096u
#define FETCH_BYTES    (512u << 10)

// ---- memory of what is read

static void stash_hold(struct part *part, uint64_t bytes)
{
	source_memory_hold(part->source, &part->source->new_bytes, &part->stash_held, bytes);
}

static void fetch_hold(struct part *part, uint64_t bytes)
{
	source_memory_hold(part->source, &part->source->new_bytes, &part->fetch_held, bytes);
}

static void again_hold(struct part *part, uint64_t bytes)
{
	source_memory_hold(part->source, &part->source->open_bytes, &part->again_held, bytes);
}

static void stash_drop(struct part *part)
{
	part->stash.buf = buf_unref(part->stash.buf);
	stash_hold(part, 0);
}

void source_read_drop(struct part *part)
{
	stash_drop(part);
	if (part->fetch_slot == FETCH_ARRIVED) {
		part->fetch.buf = buf_unref(part->fetch.buf);
		part->fetch_slot = FETCH_IDLE;
		fetch_hold(part, 0);
	}
	part->read_at = window_next(&part->window);
}

// ---- handing out

static void deliver_entry(struct part *part, const struct log_entry *entry, struct buf *buf,
			  uint32_t attempt, bool rejected)
{
	source_delivery_add(part->source, &(struct delivery){.offset = entry->offset,
							     .stored_ms = entry->stored_ms,
							     .record = entry->record,
							     .size = entry->size,
							     .partition = part->number,
							     .attempt = attempt,
							     .rejected = rejected,
							     .buf = buf});
}

// A new record that is not handed out: it has expired, or waits in the retry store for its due
// time. false: not now.
static bool pass_over(struct part *part, const struct log_entry *entry, uint64_t due_ms)
{
	if (due_ms && !source_retry_has_room(part->source))
		return false;
	if (window_add(&part->window, entry->offset, false) < 0)
		return false;
	if (due_ms && !source_retry_put(part, entry->offset, 0, due_ms, false)) {
		window_release(&part->window, entry->offset, 1);
		return true; // no memory: it is looked at again as an open position
	}
	part->window.counts.expired += !due_ms;
	window_ack(&part->window, entry->offset, 1);
	source_state_mark_dirty(part);
	return true;
}

// One new record. false: not now; it stays in the stash.
static bool new_entry(struct part *part, const struct log_entry *entry, uint64_t first,
		      uint64_t now_ms)
{
	uint64_t due_ms, expiry_ms;

	if (entry->offset < first || entry->offset < window_next(&part->window))
		return true; // deleted while it lay in the stash
	if (!window_fits(&part->window, entry->offset))
		return false;
	source_delivery_times(entry, &due_ms, &expiry_ms);
	if (now_ms > expiry_ms)
		return pass_over(part, entry, 0);
	if (due_ms > now_ms)
		return pass_over(part, entry, due_ms);
	if (!source_delivery_allowed(part->source, false) ||
	    window_add(&part->window, entry->offset, false) < 0)
		return false;
	deliver_entry(part, entry, part->stash.buf, 1, false);
	return true;
}

// Positions at the end of what was read hold nothing: they are done, not ready.
static void stash_pass_end(struct part *part)
{
	struct window *window = &part->window;
	uint64_t last = part->stash.next - 1;

	if (last < window_next(window) || !window_fits(window, last) ||
	    window_add(window, last, true) < 0)
		return; // the next message passes them
	source_state_mark_dirty(part);
}

// true: the stash is empty.
static bool stash_hand_out(struct part *part, uint64_t first, uint64_t now_ms)
{
	while (part->stash_at < part->stash.count &&
	       new_entry(part, &part->stash.entries[part->stash_at], first, now_ms))
		++part->stash_at;
	if (part->stash_at < part->stash.count) {
		if (part->source->memory_wait_ns &&
		    !window_fits(&part->window, part->stash.entries[part->stash_at].offset) &&
		    part->fetch_slot != FETCH_RUNNING)
			source_read_drop(part); // others may have its room
		return false;
	}
	source_delivery_flush(part->source);
	stash_drop(part);
	stash_pass_end(part);
	return true;
}

static void again_deliver(struct part *part, const struct log_entry *entry, struct buf *buf,
			  bool rejected)
{
	if (source_delivery_allowed(part->source, rejected))
		deliver_entry(part, entry, buf, window_take(&part->window, entry->offset),
			      rejected);
}

// An open position whose own time has not come: a backend made it open that knows only what is done
// around it.
static void again_too_early(struct part *part, uint64_t offset, uint64_t due_ms)
{
	if (source_retry_has_room(part->source) && source_retry_put(part, offset, 0, due_ms, false))
		window_leave(&part->window, offset);
	else
		part->failed = true; // looked at again later
}

// Something below what is read just now was opened meanwhile: it comes first.
static bool again_overtakes(struct part *part)
{
	uint64_t lowest, until;

	return window_first_open(&part->window, 1, &lowest, &until) && lowest < part->again.offset;
}

// A position that was read again; it may have been settled or have expired.
static void again_entry(struct part *part, const struct log_entry *entry, uint64_t now_ms)
{
	enum window_state state = window_state_at(&part->window, entry->offset);
	// What was handed out before has been due, whatever the wall clock shows.
	bool was_due = window_mark_at(&part->window, entry->offset) != NULL;
	uint64_t due_ms, expiry_ms;

	source_delivery_times(entry, &due_ms, &expiry_ms);
	if (state == WINDOW_OPEN && now_ms > expiry_ms) {
		++part->window.counts.expired;
		window_drop(&part->window, entry->offset);
		source_state_mark_dirty(part);
	} else if (state == WINDOW_OPEN && due_ms > now_ms && !was_due) {
		again_too_early(part, entry->offset, due_ms);
	} else if ((state == WINDOW_OPEN && !again_overtakes(part)) || state == WINDOW_REJECTED) {
		again_deliver(part, entry, part->again.buf, state == WINDOW_REJECTED);
	}
}

// The log has no such record any more.
static void again_gone(struct part *part, uint64_t offset)
{
	if (window_state_at(&part->window, offset) == WINDOW_REJECTED)
		again_deliver(part, &(struct log_entry){.offset = offset}, NULL, true);
	else if (window_drop(&part->window, offset))
		++part->window.counts.skipped;
}

static void again_hand_out(struct part *part, uint64_t now_ms)
{
	const struct log_fetch *fetch = &part->again;
	uint64_t passed = fetch->offset, end = MIN(fetch->next, fetch->until);

	assert(!fetch->count || fetch->entries[0].offset >= fetch->offset);
	for (uint32_t i = 0; i < fetch->count; ++i) {
		for (; passed < fetch->entries[i].offset; ++passed)
			again_gone(part, passed);
		passed = fetch->entries[i].offset + 1;
		again_entry(part, &fetch->entries[i], now_ms);
	}
	for (; passed < end; ++passed)
		again_gone(part, passed);
	source_delivery_flush(part->source);
	part->again.buf = buf_unref(part->again.buf);
	again_hold(part, 0);
}

// ---- reading

static void fetch_failed(struct part *part, enum code code)
{
	part->failed = true;
	if (code == CODE_NOT_FOUND)
		source_state_set_gone(part->source, "the topic is gone");
	else
		source_state_set_down(part->source, code, "reading the topic failed");
}

static void again_done(struct loop_task *task)
{
	struct part *part = CONTAINER_OF(task, struct part, again.task);

	part->again_running = false;
	if (part->again.code != CODE_OK) {
		part->again.buf = buf_unref(part->again.buf);
		again_hold(part, 0);
		fetch_failed(part, part->again.code);
	} else {
		again_hand_out(part, source_clock_read(part->source).wall_ms);
	}
	source_state_pump_later(part->source);
}

static void fetch_arrived(struct part *part)
{
	part->fetch_slot = FETCH_ARRIVED;
	fetch_hold(part, part->fetch.buf ? part->fetch.buf->size : 0);
	if (part->fetch.code != CODE_OK || part->fetch.next <= part->read_at) {
		part->fetch.buf = buf_unref(part->fetch.buf);
		part->fetch_slot = FETCH_IDLE;
		fetch_hold(part, 0);
		part->failed = true; // nothing where something should be: looked at again later
		if (part->fetch.code != CODE_OK)
			fetch_failed(part, part->fetch.code);
		return;
	}
	assert(!part->fetch.count || part->fetch.entries[0].offset >= part->fetch.offset);
	assert(!part->fetch.count ||
	       part->fetch.entries[part->fetch.count - 1].offset < part->fetch.next);
	part->read_at = part->fetch.next;
}

static void fetch_done(struct loop_task *task)
{
	struct part *part = CONTAINER_OF(task, struct part, fetch.task);

	fetch_arrived(part);
	source_state_pump_later(part->source);
}

// What demand allows, and as much again for the time until it is renewed.
static uint32_t read_bytes(const struct source *source)
{
	return (uint32_t)MIN(2 * MIN(source->demand_bytes, FETCH_BYTES) + 4096, FETCH_BYTES);
}

static bool read_start(struct part *part, struct log_fetch *fetch, loop_task_fn done,
		       uint64_t offset, uint64_t until, uint32_t bytes)
{
	struct source *source = part->source;

	*fetch = (struct log_fetch){
		.task = {.fn = done},
		.loop = source->config.loop,
		.topic = source->config.adapter_topic,
		.offset = offset,
		.until = until,
		.partition = part->number,
		.max_messages = (uint32_t)MIN(2ull * source->demand_messages + 16, FETCH_MESSAGES),
		.max_bytes = bytes,
	};
	return source->ops->fetch(source->adapter, fetch);
}

static bool open_read(struct part *part, uint64_t now_ms)
{
	uint64_t offset, until;
	uint32_t bytes;

	if (part->again_running)
		return true;
	if (!(source_delivery_allowed(part->source, true) &&
	      window_first_rejected(&part->window, &offset, &until)) &&
	    !(source_delivery_allowed(part->source, false) &&
	      window_first_open(&part->window, FETCH_MESSAGES, &offset, &until)))
		return false;
	bytes = source_memory_fit(part->source, part->source->open_bytes, read_bytes(part->source));
	if (!bytes)
		return true; // nothing new before it
	again_hold(part, bytes);
	if (!read_start(part, &part->again, again_done, offset, until, bytes)) {
		part->again_running = true;
		return true;
	}
	if (part->again.code == CODE_OK) {
		again_hand_out(part, now_ms);
	} else {
		again_hold(part, 0);
		fetch_failed(part, part->again.code);
	}
	source_state_pump_later(part->source);
	return true;
}

static void ahead_read(struct part *part, uint64_t end)
{
	struct source *source = part->source;
	uint32_t bytes;

	if (part->fetch_slot != FETCH_IDLE || part->failed || part->read_at >= end ||
	    !source_delivery_allowed(source, false) || !window_fits(&part->window, part->read_at))
		return;
	bytes = source_memory_fit(source, source->new_bytes, read_bytes(source));
	if (!bytes)
		return;
	part->fetch_slot = FETCH_RUNNING;
	fetch_hold(part, bytes);
	if (read_start(part, &part->fetch, fetch_done, part->read_at, end, bytes))
		fetch_arrived(part);
}

static void new_hand_out(struct part *part, uint64_t first, uint64_t end, uint64_t now_ms)
{
	for (;;) {
		if (part->stash.buf && !stash_hand_out(part, first, now_ms))
			break;
		if (part->fetch_slot == FETCH_IDLE)
			ahead_read(part, end);
		if (part->fetch_slot != FETCH_ARRIVED)
			return;
		part->stash = part->fetch;
		part->stash_at = 0;
		part->stash_held = part->fetch_held;
		part->fetch.buf = NULL;
		part->fetch_held = 0;
		part->fetch_slot = FETCH_IDLE;
		if (!part->stash.buf)
			stash_pass_end(part);
		assert(part->stash.buf || part->stash_held == 0);
	}
	ahead_read(part, end);
}

bool source_read_truncate(struct part *part, uint64_t *ret_first, uint64_t *ret_end)
{
	struct source *source = part->source;
	uint64_t base = part->window.base;

	if (!source->ops->bounds(source->config.adapter_topic, part->number, ret_first, ret_end))
		return false;
	if (base < *ret_first)
		window_truncate(&part->window, *ret_first);
	if (part->window.base != base)
		source_state_mark_dirty(part);
	part->read_at = MAX(part->read_at, *ret_first);
	return true;
}

void source_read_pump(struct part *part, struct source_time now)
{
	uint64_t first, end;

	if (!source_read_truncate(part, &first, &end)) {
		source_state_set_gone(part->source, "the topic is gone");
		return;
	}
	window_wake(&part->window, now.steady_ms);
	if (!part->failed && !open_read(part, now.wall_ms) &&
	    source_delivery_allowed(part->source, false))
		new_hand_out(part, first, end, now.wall_ms);
}
