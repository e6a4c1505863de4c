// A source over a log: fetches ranges, keeps an ack window a partition, hands out what is due again
// before what is new.
//
// Everything runs on the home loop, handlers only from source_pump(), which runs as a deferred
// task: no slot calls back before it returns. Each partition reads at most one range of new
// positions and one of open positions at a time; new ones are read one range ahead (the stash and,
// behind it, what has arrived) and dropped when nobody has wanted any for IDLE_NS. A redelivery is
// read again: no body is kept while it is in flight.
//
// What a window does not hold goes to the retry store (source_retry.c): a due time of the message's
// own, a delay above WINDOW_DELAY_MAX_MS, an attempt for which the window has no room, and what
// holds the head for HEAD_NS while others behind it are done.
//
// Before the first delivery the epoch is made durable, so that no two openings share one.

#include "adapters/log/source.h"

#include "adapters/log/backlog_rows.h"
#include "adapters/log/source_clock.h"
#include "adapters/log/source_commit.h"
#include "adapters/log/source_delivery.h"
#include "adapters/log/source_memory.h"
#include "adapters/log/source_retry.h"
#include "adapters/log/source_state.h"
#include "adapters/log/window_text.h"

#include <errno.h>

#define FETCH_MESSAGES 4096u
#define FETCH_BYTES    (512u << 10)
#define SETTLE_MAX     (4 * WINDOW_POSITIONS) // of one run; a longer one cannot be right
#define IDLE_NS        S_NS
#define HEAD_NS        (30 * S_NS)

// ---- the end

static bool reads_under_way(const struct source *source)
{
	for (uint32_t i = 0; i < source->part_count; ++i)
		if (source->parts[i].again_running || source->parts[i].fetch_slot == FETCH_RUNNING)
			return true;
	return source->taking;
}

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

static void read_ahead_drop(struct part *part)
{
	stash_drop(part);
	if (part->fetch_slot == FETCH_ARRIVED) {
		part->fetch.buf = buf_unref(part->fetch.buf);
		part->fetch_slot = FETCH_IDLE;
		fetch_hold(part, 0);
	}
	part->read_at = window_next(&part->window);
}

static void source_free(void *memory)
{
	struct source *source = memory;

	for (uint32_t i = 0; i < source->part_count; ++i)
		window_deinit(&source->parts[i].window);
	source_commit_deinit(source);
	source_retry_deinit(source);
	free(source->parts);
	model_unref(source->config.group);
	model_unref(source->config.topic);
	free(source);
}

// Ends a closing source as soon as nothing of it is on its way any more.
static bool close_if_quiet(struct source *source)
{
	if (!source->closing || source->phase == PHASE_LOADING || source->committing ||
	    reads_under_way(source) || source->pump_posted)
		return false;
	if (source->phase == PHASE_OPEN && source_commit_pending(source) && !source->commit_failed)
		return false;
	if (__atomic_load_n(&source->watch.posted, __ATOMIC_ACQUIRE))
		return false;
	loop_timer_cancel(&source->timer);
	for (uint32_t i = 0; i < source->part_count; ++i)
		read_ahead_drop(&source->parts[i]);
	assert(source->new_bytes == 0 && source->open_bytes == 0);
	source_commit_end_waiters(source);
	if (source->ops->closed)
		source->ops->closed(source->adapter, source->config.group);
	loop_free_later(source->config.loop, source, source_free);
	source->closed(source->closed_ctx);
	return true;
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
			read_ahead_drop(part); // others may have its room
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

static void set_gone(struct source *source, const char *text)
{
	source->phase = PHASE_GONE;
	source_state_set(source, SOURCE_GONE, CODE_NOT_FOUND, text);
}

static void fetch_failed(struct part *part, enum code code)
{
	part->failed = true;
	if (code == CODE_NOT_FOUND)
		set_gone(part->source, "the topic is gone");
	else
		source_state_set(part->source, SOURCE_DOWN, code, "reading the topic failed");
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

static bool part_truncate(struct part *part, uint64_t *ret_first, uint64_t *ret_end)
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

// Redeliveries first, then what is new.
static void part_pump(struct part *part, struct source_time now)
{
	uint64_t first, end;

	if (!part_truncate(part, &first, &end)) {
		set_gone(part->source, "the topic is gone");
		return;
	}
	window_wake(&part->window, now.steady_ms);
	if (!part->failed && !open_read(part, now.wall_ms) &&
	    source_delivery_allowed(part->source, false))
		new_hand_out(part, first, end, now.wall_ms);
}

// ---- what holds the head too long

static bool head_leave(struct part *part, uint64_t offset)
{
	enum window_state state = window_state_at(&part->window, offset);
	const struct window_mark *mark = window_mark_at(&part->window, offset);

	if (state == WINDOW_DONE || state == WINDOW_REJECTED) // its copy is made just now
		return true;
	assert(mark || state != WINDOW_WAITING);
	if (!source_retry_has_room(part->source) ||
	    !source_retry_put(part, offset, mark ? mark->attempts : 0,
			      state == WINDOW_WAITING ? mark->due_ms : 0, state == WINDOW_FLIGHT))
		return false;
	window_leave(&part->window, offset);
	return true;
}

// Everything that was seen when the head came to be the head, HEAD_NS ago, leaves. Returns when to
// look again.
static uint64_t head_check(struct part *part, uint64_t now_ns)
{
	struct window *window = &part->window;
	uint32_t done =
		window->count - window->flight - window->open - window->waiting - window->rejected;

	if (window->count == 0 || window->base != part->head || !part->head_since_ns) {
		part->head = window->base;
		part->head_since_ns = now_ns;
		part->head_limit = window_next(window);
	}
	// Without demand nothing could go on behind it anyway.
	if (done == 0 || part->source->demand_messages == 0)
		return UINT64_MAX;
	if (now_ns < part->head_since_ns + HEAD_NS)
		return part->head_since_ns + HEAD_NS;
	for (uint64_t offset = part->head; offset < part->head_limit; ++offset)
		if (!head_leave(part, offset))
			return now_ns + SOURCE_RETRY_NS;
	part->head_since_ns = 0;
	return now_ns;
}

// ---- the pump

static bool any_window_full(const struct source *source)
{
	for (uint32_t i = 0; i < source->part_count; ++i)
		if (window_full(&source->parts[i].window))
			return true;
	return false;
}

static bool any_failed(const struct source *source)
{
	for (uint32_t i = 0; i < source->part_count; ++i)
		if (source->parts[i].failed)
			return true;
	return false;
}

// When the next waiting message is due, on the monotonic clock.
static uint64_t next_due_ns(const struct source *source, uint64_t now_ns, struct source_time now)
{
	uint64_t in_ms = source_retry_next_in_ms(source, now);

	for (uint32_t i = 0; i < source->part_count; ++i)
		in_ms = MIN(in_ms, source_clock_until_ms(source->parts[i].window.next_due_ms,
							 now.steady_ms));
	// The wall clock may jump, so it is looked at once a second at least while something waits.
	return in_ms == UINT64_MAX ? UINT64_MAX : now_ns + MIN(in_ms, 1000ull) * MS_NS;
}

static void read_ahead_check(struct source *source, uint64_t now_ns)
{
	if (!source->idle_since_ns || now_ns < source->idle_since_ns + IDLE_NS)
		return;
	for (uint32_t i = 0; i < source->part_count; ++i)
		if (source->parts[i].fetch_slot != FETCH_RUNNING)
			read_ahead_drop(&source->parts[i]);
	source->idle_since_ns = 0;
}

// READY, WINDOW_FULL or DOWN as things are now.
static void state_update(struct source *source)
{
	if (source->phase != PHASE_OPEN)
		return;
	if (source->commit_failed && source->commit_code == CODE_NOT_FOUND) {
		set_gone(source, "the group is gone");
	} else if (source->commit_failed) {
		source_state_set(source, SOURCE_DOWN, source->commit_code,
				 "the group's position cannot be written");
	} else if (any_failed(source)) {
		return;
	} else if (any_window_full(source)) {
		source_state_set(source, SOURCE_WINDOW_FULL, CODE_OK,
				 "too many positions are open; acknowledge the oldest");
	} else {
		source_state_set(source, SOURCE_READY, CODE_OK, NULL);
	}
}

static void hand_out(struct source *source, struct source_time now)
{
	source_retry_hand_out(source, now);
	for (uint32_t i = 0; i < source->part_count && source->phase == PHASE_OPEN; ++i)
		part_pump(&source->parts[(source->turn + i) % source->part_count], now);
	source_delivery_flush(source);
	++source->turn;
	if (source->demand_messages)
		source->idle_since_ns = 0;
	else if (!source->idle_since_ns)
		source->idle_since_ns = loop_now_ns(source->config.loop);
}

static uint64_t time_next(struct source *source, uint64_t now_ns, struct source_time now)
{
	uint64_t wake_ns = source_commit_if_due(source, now_ns);

	if (source->closing)
		return wake_ns;
	if (source->phase == PHASE_LOAD_FAILED || any_failed(source)) {
		// From when it failed: every append is a reason to come by here.
		if (!source->again_ns)
			source->again_ns = now_ns + SOURCE_RETRY_NS;
		wake_ns = MIN(wake_ns, source->again_ns);
	}
	if (source->phase != PHASE_OPEN)
		return wake_ns;
	wake_ns = MIN(wake_ns, source_memory_next(source, now_ns));
	for (uint32_t i = 0; i < source->part_count; ++i)
		wake_ns = MIN(wake_ns, head_check(&source->parts[i], now_ns));
	if (source->idle_since_ns)
		wake_ns = MIN(wake_ns, source->idle_since_ns + IDLE_NS);
	return MIN(wake_ns, next_due_ns(source, now_ns, now));
}

static void source_pump(struct source *source)
{
	uint64_t now_ns = loop_now_ns(source->config.loop), wake_ns;
	struct source_time now;

	if (close_if_quiet(source))
		return;
	now = source_clock_read(source);
	if (source->phase == PHASE_OPEN && !source->closing)
		hand_out(source, now);
	if (source->phase == PHASE_OPEN && !source->closing)
		read_ahead_check(source, now_ns);
	state_update(source);
	wake_ns = time_next(source, now_ns, now);
	if (close_if_quiet(source))
		return;
	if (wake_ns == UINT64_MAX)
		loop_timer_cancel(&source->timer);
	else
		loop_timer_set(&source->timer, wake_ns);
}

static void on_pump(struct loop_task *task)
{
	struct source *source = CONTAINER_OF(task, struct source, pump);

	source->pump_posted = false;
	source_pump(source);
}

// ---- opening

static void load_done(struct loop_task *task)
{
	struct source *source = CONTAINER_OF(task, struct source, cursors.task);
	struct log_cursors *load = &source->cursors;
	enum code code = load->code;
	uint64_t epoch = load->epoch;

	for (uint32_t i = 0; i < load->count; ++i) {
		const struct log_cursor *cursor = &load->cursors[i];
		struct part *part = &source->parts[i];
		uint64_t written;

		if (code == CODE_OK) {
			window_deinit(&part->window);
			window_init(&part->window, cursor->position);
			if (window_text_decode(&part->window, cursor->text, &written) < 0)
				code = CODE_OVERLOADED;
			epoch = MAX(epoch, written);
			part->read_at = window_next(&part->window);
			part->waiting_retry = cursor->retrying;
			part->waiting_delay = cursor->delayed;
		}
		free(cursor->text);
	}
	load->count = 0;
	if (code == CODE_OK) {
		source_clock_load(source);
		source->epoch = source->config.epoch ? source->config.epoch
						     : MIN(epoch + 1, WINDOW_EPOCH_MAX);
		source_commit_claim(source);
		return;
	}
	source->phase = PHASE_LOAD_FAILED;
	if (code == CODE_NOT_FOUND)
		set_gone(source, "the group is not there");
	else
		source_state_set(source, SOURCE_DOWN, code, "the group's position cannot be read");
	source_state_pump_later(source);
}

static void load_start(struct source *source)
{
	source->phase = PHASE_LOADING;
	source->cursors.task.fn = load_done;
	source->cursors.count = source->part_count;
	source->ops->load(source->adapter, &source->cursors);
}

static void on_timer(struct loop_timer *timer)
{
	struct source *source = CONTAINER_OF(timer, struct source, timer);

	for (uint32_t i = 0; i < source->part_count; ++i)
		source->parts[i].failed = false;
	source->again_ns = 0;
	if (source->phase == PHASE_LOAD_FAILED && !source->closing)
		load_start(source);
	source_state_pump_later(source);
}

static void on_append(struct loop_task *task)
{
	struct source *source = CONTAINER_OF(task, struct source, watch.task);

	__atomic_store_n(&source->watch.posted, false, __ATOMIC_RELEASE);
	source_state_pump_later(source);
}

// ---- slots

int log_source_open(struct adapter *adapter, const struct log_ops *ops,
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
	source->state = SOURCE_OPENING;
	source->waiters_end = &source->waiters;
	for (uint32_t i = 0; i < count; ++i) {
		source->parts[i].source = source;
		source->parts[i].number = i;
		window_init(&source->parts[i].window, 0);
	}
	source_clock_init(source);
	source_retry_init(source);
	loop_timer_init(&source->timer, config->loop, on_timer);
	source->pump.fn = on_pump;
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

void log_source_demand(struct source *source, uint32_t messages, uint64_t bytes, uint32_t rejected)
{
	source->demand_messages = messages;
	source->demand_bytes = bytes;
	source->demand_rejected = rejected;
	if (messages || rejected)
		source_state_pump_later(source);
}

// The attempt has ended and the window is not the place to wait: a row of the retry store.
static bool nack_to_store(struct part *part, const struct settle *settle, uint64_t offset,
			  uint64_t due_ms)
{
	struct retry_inflight *inflight =
		source_retry_put(part, offset, settle->attempt, due_ms, false);

	if (!inflight)
		return false; // no memory: it stays in flight, and comes again when reopened
	inflight->rejected = inflight->state == INFLIGHT_MOVING && settle->verb == SETTLE_REJECT;
	window_ack(&part->window, offset, settle->attempt);
	return true;
}

static bool nack_one(struct part *part, const struct settle *settle, uint64_t offset,
		     uint64_t now_ms)
{
	uint64_t due_ms =
		settle->verb == SETTLE_NACK && settle->delay_ms ? now_ms + settle->delay_ms : 0;
	enum window_result result = WINDOW_CROWDED;

	if (settle->verb == SETTLE_REJECT)
		result = window_reject(&part->window, offset, settle->attempt);
	else if (settle->delay_ms <= WINDOW_DELAY_MAX_MS)
		result = window_nack(&part->window, offset, settle->attempt, due_ms);
	else if (!window_in_flight(&part->window, offset, settle->attempt))
		result = WINDOW_STALE;
	if (result == WINDOW_CROWDED)
		return nack_to_store(part, settle, offset, due_ms);
	return result == WINDOW_OK;
}

static bool settle_one(struct part *part, const struct settle *settle, uint64_t offset,
		       uint64_t now_ms)
{
	bool done = false;

	if (settle->verb == SETTLE_ACK || settle->verb == SETTLE_DEAD)
		done = window_ack(&part->window, offset, settle->attempt) == WINDOW_OK;
	else if (settle->verb == SETTLE_NACK || settle->verb == SETTLE_REJECT)
		done = nack_one(part, settle, offset, now_ms);
	else if (settle->verb == SETTLE_RELEASE)
		done = window_release(&part->window, offset, settle->attempt) == WINDOW_OK;
	done = done || source_retry_settle(part, settle, offset, now_ms);
	part->window.counts.dead += done && settle->verb == SETTLE_DEAD;
	return done;
}

static void settle_entry(struct source *source, struct settle *settle, uint64_t now_ms)
{
	struct part *part =
		settle->partition < source->part_count ? &source->parts[settle->partition] : NULL;

	uint32_t count = MIN(settle->count, SETTLE_MAX);

	settle->settled = 0;
	if (part && settle->epoch == source->epoch && source->phase == PHASE_OPEN)
		for (uint32_t at = 0; at < count; ++at)
			settle->settled += settle_one(part, settle, settle->offset + at, now_ms);
	settle->code = settle->settled == settle->count ? CODE_OK : CODE_STALE;
	if (settle->settled)
		source_state_mark_dirty(part);
}

void log_source_settle(struct source *source, struct settle *settles, size_t count,
		       void (*done)(void *ctx, enum code code), void *ctx)
{
	uint64_t now_ms = source_clock_read(source).steady_ms;

	for (size_t i = 0; i < count; ++i)
		settle_entry(source, &settles[i], now_ms);
	if (done && !source_commit_add_waiter(source, done, ctx))
		done(ctx, CODE_OVERLOADED); // applied, but nobody can wait for it
	source_state_pump_later(source);
}

static struct source_partition part_backlog(const struct part *part, uint64_t first, uint64_t end)
{
	const struct window *window = &part->window;
	uint64_t next = MAX(window_next(window), first);
	struct source_partition row = {
		.first = first,
		.end = end,
		.committed = window->base,
		.ready = (end > next ? end - next : 0) + window->open + part->inflight_ready,
		.in_flight = window->flight + part->inflight_delivered,
		.retrying = window->waiting + window->rejected + part->waiting_retry,
		.delayed = part->waiting_delay,
		.dead = window->counts.dead,
		.expired = window->counts.expired,
		.skipped = window->counts.skipped + (next - window_next(window)),
		.replayed = window->counts.replayed,
		.partition = part->number,
		.window_full = window_full(window),
	};

	row.acked = backlog_row_acked(&row);
	return row;
}

size_t log_source_backlog(struct source *source, struct source_partition *partitions, size_t room)
{
	uint32_t count = MIN((uint32_t)room, source->part_count);
	bool holes = source->ops->has_holes && source->ops->has_holes(source->config.adapter_topic);

	if (source->phase < PHASE_CLAIMING)
		return 0;
	for (uint32_t i = 0; i < count; ++i) {
		uint64_t first, end;

		if (!part_truncate(&source->parts[i], &first, &end))
			return 0;
		partitions[i] = part_backlog(&source->parts[i], first, end);
		partitions[i].holes = holes;
	}
	return count;
}

void log_source_close(struct source *source, void (*done)(void *ctx), void *ctx)
{
	source_clock_read(source); // a step of the clock goes into the last commit
	source->closing = true;
	source->commit_failed = false; // what failed before is tried once more
	source->closed = done;
	source->closed_ctx = ctx;
	source->ops->unwatch(source->config.adapter_topic, &source->watch);
	source_state_pump_later(source);
}
