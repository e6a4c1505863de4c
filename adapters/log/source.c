// A source over a log: opens, pumps and closes what reads a topic for one group.
//
// Everything runs on the home loop, handlers only from source_pump(), which runs as a deferred
// task: no slot calls back before it returns. Each run hands out what is due again before what is
// new, looks at the head of each window, starts a commit when one is due, and sets the timer for
// the next. What a run does not finish leads to another by itself: every answer of the backend,
// append, settle and demand asks for one (source_state_pump_later()).
//
// The rest has files of its own, none of which calls this one: source_read.c reads the topic and
// hands out, source_settle.c changes windows as consumers settle, source_retry.c deals with what a
// window does not hold, source_commit.c makes all that durable; below them lie source_delivery.c,
// source_look.c, source_clock.c, source_memory.c and source_state.c.
//
// What holds the head of a window for HEAD_NS while others behind it are done goes to the retry
// store here, so that one slow message does not stop a partition. What was read ahead is
// dropped when no consumer has wanted any for IDLE_NS.
//
// Invariants: before the first delivery the epoch is durable, so no two openings share one; a
// source ends only when nothing of it is on its way any more, neither a read, a commit nor a task.

#include "adapters/log/source.h"

#include "adapters/log/backlog_rows.h"
#include "adapters/log/source_clock.h"
#include "adapters/log/source_commit.h"
#include "adapters/log/source_delivery.h"
#include "adapters/log/source_memory.h"
#include "adapters/log/source_read.h"
#include "adapters/log/source_retry.h"
#include "adapters/log/window_text.h"

#include <errno.h>

#define IDLE_NS S_NS
#define HEAD_NS (30 * S_NS)

// ---- the end

static bool reads_under_way(const struct source *source)
{
	for (uint32_t i = 0; i < source->part_count; ++i)
		if (source->parts[i].again_running || source->parts[i].fetch_slot == FETCH_RUNNING)
			return true;
	return source->taking;
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
		source_read_drop(&source->parts[i]);
	assert(source->new_bytes == 0 && source->open_bytes == 0);
	source_commit_end_waiters(source);
	if (source->ops->closed)
		source->ops->closed(source->adapter, source->config.group);
	loop_free_later(source->config.loop, source, source_free);
	source->closed(source->closed_ctx);
	return true;
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
			source_read_drop(&source->parts[i]);
	source->idle_since_ns = 0;
}

// READY, WINDOW_FULL or DOWN as things are now.
static void state_update(struct source *source)
{
	if (source->phase != PHASE_OPEN)
		return;
	if (source->commit_failed && source->commit_code == CODE_NOT_FOUND) {
		source_state_set_gone(source, "the group is gone");
	} else if (source->commit_failed) {
		source_state_set_down(source, source->commit_code,
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
		source_read_pump(&source->parts[(source->turn + i) % source->part_count], now);
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
	if (code == CODE_NOT_FOUND) {
		source_state_set_gone(source, "the group is not there");
	} else {
		source_state_set_phase(source, PHASE_LOAD_FAILED);
		source_state_set_down(source, code, "the group's position cannot be read");
	}
	source_state_pump_later(source);
}

static void load_start(struct source *source)
{
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
	if (source->phase == PHASE_LOAD_FAILED && !source->closing) {
		source_state_set_phase(source, PHASE_LOADING);
		load_start(source);
	}
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
	source->phase = PHASE_LOADING;
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

static struct source_partition part_backlog(const struct part *part, uint64_t first, uint64_t end)
{
	const struct window *window = &part->window;
	struct source_partition row = backlog_row_of_window(window, first, end);

	row.partition = part->number;
	row.ready += part->inflight_ready;
	row.in_flight += part->inflight_delivered;
	row.retrying += part->waiting_retry;
	row.delayed = part->waiting_delay;
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

		if (!source_read_truncate(&source->parts[i], &first, &end))
			return 0;
		partitions[i] = part_backlog(&source->parts[i], first, end);
		partitions[i].log.holes = holes;
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
