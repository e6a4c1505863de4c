// A source over a queue: the engine held.h on a loop, between the opener's handlers and a backend's
// ops.
//
// Everything runs on the home loop. Events of the backend, demand and settles change the engine and
// ask for a run of the pump, which comes as a deferred task once this turn of the loop is over: a
// batch of events costs one run, and no slot calls back before it returns. One event does not wait:
// a loss is told at once, because a settle in between would be STALE in the engine and good in the
// opener's books, and its consumer would be told OK for what comes again.
//
//   source_engine.c    what the engine asks for, and the memory of what it holds
//   source_channel.c   channels, one after another, with waits in between; epochs
//   source_backlog.c   what the backend counts beside what is held
//   source_state.c     below all of them
//
// READY is an open channel; DOWN is none, or a copy that was refused lately.
//
// Invariants: the engine has a channel exactly while the backend has one that is open or cut; the
// source ends only after detached(), and with it every write and every count has been answered.
// Which message is handed out, written or acknowledged is the engine's affair alone.

#include "adapters/queue/source.h"

#include "adapters/queue/source_backlog.h"
#include "adapters/queue/source_channel.h"
#include "adapters/queue/source_engine.h"
#include "adapters/queue/source_state.h"

#include <errno.h>

// ---- the end

static void source_free(void *memory)
{
	struct source *source = memory;

	held_free(source->held);
	model_unref(source->config.group);
	model_unref(source->config.topic);
	free(source);
}

static void source_end(struct source *source)
{
	assert(source->counted_bytes == 0);
	loop_free_later(source->config.loop, source, source_free);
	source->closed(source->closed_ctx);
}

// ---- the pump

static void state_update(struct source *source, uint64_t now_ns)
{
	if (source->refused_ns && now_ns >= source->refused_ns + QUEUE_SOURCE_REFUSED_NS)
		source->refused_ns = 0;
	if (source->channel == QUEUE_CHANNEL_OPEN && !source->refused_ns)
		queue_source_state_set(source, SOURCE_READY, CODE_OK, NULL);
}

static void timer_arm(struct source *source, uint64_t now_ns)
{
	uint64_t wake_ns = queue_source_engine_next_ns(source);

	wake_ns = MIN(wake_ns, queue_source_channel_next_ns(source));
	wake_ns = MIN(wake_ns, queue_source_backlog_next_ns(source));
	if (source->refused_ns)
		wake_ns = MIN(wake_ns, source->refused_ns + QUEUE_SOURCE_REFUSED_NS);
	if (wake_ns == UINT64_MAX)
		loop_timer_cancel(&source->timer);
	else
		loop_timer_set(&source->timer, MAX(wake_ns, 1ull));
}

static void source_detach(struct source *source)
{
	source->detaching = true;
	loop_timer_cancel(&source->timer);
	source->ops->detach(source->attachment);
}

static void source_pump(struct source *source)
{
	uint64_t now_ns = queue_source_state_now_ns(source);

	if (source->detached)
		source_end(source);
	if (source->detaching)
		return;
	if (source->closing && !source->held_closing) {
		source->held_closing = true;
		held_close(source->held);
	}
	queue_source_channel_open_if_due(source);
	state_update(source, now_ns);
	queue_source_engine_run(source);
	queue_source_backlog_ask_if_due(source);
	if (source->drained)
		source_detach(source);
	else
		timer_arm(source, now_ns);
}

static void on_pump(struct loop_task *task)
{
	struct source *source = CONTAINER_OF(task, struct source, pump);

	source->pump_posted = false;
	source_pump(source);
}

static void on_timer(struct loop_timer *timer)
{
	queue_source_state_pump_later(CONTAINER_OF(timer, struct source, timer));
}

// ---- what the backend tells

static void on_opened(void *ctx, uint64_t epoch)
{
	struct source *source = ctx;

	if (!queue_source_channel_opened(source, epoch))
		return;
	queue_source_backlog_changed(source);
	queue_source_state_pump_later(source);
}

// What belongs to a partition that the topic has got meanwhile stays unacknowledged: the opener
// opens the source anew, and then it comes again.
static void on_arrived(void *ctx, const struct queue_arrival *arrivals, size_t count)
{
	struct source *source = ctx;
	struct held_time time = queue_source_state_time(source);

	for (size_t i = 0; i < count; ++i)
		if (arrivals[i].partition < source->config.topic->partitions)
			held_arrived(source->held, &arrivals[i], time);
	queue_source_backlog_changed(source);
	queue_source_state_pump_later(source);
}

static void on_passed(void *ctx, uint64_t epoch)
{
	struct source *source = ctx;

	held_passed(source->held, epoch);
	queue_source_backlog_changed(source);
	queue_source_state_pump_later(source);
}

static void on_cancelled(void *ctx, uint64_t epoch)
{
	struct source *source = ctx;

	held_cancelled(source->held, epoch);
	queue_source_state_pump_later(source);
}

static void on_lost(void *ctx, uint64_t epoch, enum code code, const char *text)
{
	struct source *source = ctx;

	if (!queue_source_channel_lost(source, epoch))
		return;
	source->refused_ns = 0;
	queue_source_backlog_forget(source);
	queue_source_engine_run(source);
	queue_source_state_set(source, SOURCE_DOWN, code, text);
	queue_source_state_pump_later(source);
}

static void on_gone(void *ctx, const char *text)
{
	struct source *source = ctx;

	if (!queue_source_channel_gone(source))
		return;
	source->refused_ns = 0;
	queue_source_backlog_forget(source);
	queue_source_engine_run(source);
	queue_source_state_set(source, SOURCE_GONE, CODE_NOT_FOUND, text);
	queue_source_state_pump_later(source);
}

static void on_written(void *ctx, uint64_t number, enum queue_outcome outcome, enum code code,
		       const char *text)
{
	struct source *source = ctx;

	held_written(source->held, number, outcome, queue_source_state_time(source));
	if (outcome == QUEUE_REFUSED)
		queue_source_engine_note_refused(source, code, text);
	queue_source_backlog_changed(source);
	queue_source_state_pump_later(source);
}

static void on_counted(void *ctx, const struct queue_counts *counts)
{
	struct source *source = ctx;

	queue_source_backlog_counted(source, counts);
	queue_source_state_pump_later(source);
}

// The pump ends it: one that has been asked for before must not find freed memory.
static void on_detached(void *ctx)
{
	struct source *source = ctx;

	assert(source->detaching && !source->detached && !source->counting);
	source->detached = true;
	queue_source_state_pump_later(source);
}

static const struct queue_handlers handlers = {.opened = on_opened,
					       .arrived = on_arrived,
					       .passed = on_passed,
					       .cancelled = on_cancelled,
					       .lost = on_lost,
					       .gone = on_gone,
					       .written = on_written,
					       .counted = on_counted,
					       .detached = on_detached};

// ---- slots

int queue_source_open(struct adapter *adapter, const struct queue_ops *ops,
		      const struct source_config *config, struct source **ret)
{
	struct source *source = calloc(1, sizeof *source);
	struct queue_attach attach;

	assert(config->handlers->lost);
	if (!source)
		return -ENOMEM;
	source->adapter = adapter;
	source->ops = ops;
	source->config = *config;
	source->config.group = model_ref(config->group);
	source->config.topic = model_ref(config->topic);
	attach = (struct queue_attach){.group = source->config.group,
				       .topic = source->config.topic,
				       .adapter_topic = config->adapter_topic,
				       .loop = config->loop,
				       .handlers = &handlers,
				       .ctx = source};
	if (queue_source_engine_init(source) < 0 ||
	    ops->attach(adapter, &attach, &source->attachment) < 0) {
		source_free(source);
		return -ENOMEM;
	}
	source->pump.fn = on_pump;
	loop_timer_init(&source->timer, config->loop, on_timer);
	queue_source_state_pump_later(source); // opens the first channel
	*ret = source;
	return 0;
}

void queue_source_demand(struct source *source, uint32_t messages, uint64_t bytes,
			 uint32_t rejected)
{
	held_demand(source->held, messages, bytes, rejected, queue_source_state_time(source));
	queue_source_state_pump_later(source);
}

void queue_source_settle(struct source *source, struct settle *settles, size_t count,
			 void (*done)(void *ctx, enum code code), void *ctx)
{
	int r = held_settle(source->held, settles, count, done, ctx,
			    queue_source_state_time(source));

	if (r < 0)
		done(ctx, CODE_OVERLOADED); // applied, but there is no memory to wait with
	queue_source_backlog_changed(source);
	queue_source_state_pump_later(source);
}

void queue_source_close(struct source *source, void (*done)(void *ctx), void *ctx)
{
	source->closing = true;
	source->closed = done;
	source->closed_ctx = ctx;
	queue_source_state_pump_later(source);
}
