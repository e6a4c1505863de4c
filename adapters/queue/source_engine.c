// Runs the engine of a queue source: what it asks for goes to the backend's ops and to the opener's
// handlers, and what it holds is counted as message memory of the opener.
//
// Everything held is counted, handed out or not: the record stays until the delivery is settled.
// Without room the engine holds a little at most (held_crowd). It is asked for more room to end
// that than to begin it, so that a consumer is not changed with every settle. Room that others give
// back is no event here, so it is asked for again after a while.
//
// A copy that puts a message aside for a time is refused here while its tenant's reserve is full;
// one that is due at once takes the place of its original. The opener is told of what is refused:
// the source is DOWN until nothing has been refused for QUEUE_SOURCE_REFUSED_NS. In that time the
// engine has tried each such copy again.
//
// Invariants: an op of a channel is called only while that is open: what the engine asks for while
// its channel is being cut is void. Nothing is handed out or told once the source is being closed,
// which a handler may do in the middle of a run.

#include "adapters/queue/source_engine.h"

#include <errno.h>

#define BYTES_MAX    (64ull << 20)
#define ENDED_MAX    4096u
#define CROWD_BYTES  (64u << 10) // held, without room for more
#define ROOM_BYTES   (64u << 10) // of message memory, without which there is no room
#define ROOM_AGAIN   (1u << 20)  // with which there is room again
#define ROOM_LOOK_NS (250 * MS_NS)
#define WALL_LOOK_NS S_NS // what waits by the wall clock: that may jump

// ---- what the engine asks for

static void do_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	struct source *source = ctx;

	if (!source->closing)
		source->config.handlers->deliver(source->config.ctx, deliveries, count);
}

static void do_ack(void *ctx, const uint64_t *tags, size_t count)
{
	struct source *source = ctx;

	assert(count <= source->limits.acks_max);
	if (source->channel == QUEUE_CHANNEL_OPEN)
		source->ops->ack(source->attachment, tags, count);
}

static void do_barrier(void *ctx)
{
	struct source *source = ctx;

	if (source->channel == QUEUE_CHANNEL_OPEN)
		source->ops->barrier(source->attachment);
}

static void do_consume(void *ctx, uint32_t prefetch)
{
	struct source *source = ctx;

	if (source->channel == QUEUE_CHANNEL_OPEN)
		source->ops->consume(source->attachment, prefetch);
}

void queue_source_engine_note_refused(struct source *source, enum code code, const char *text)
{
	source->refused_ns = queue_source_state_now_ns(source);
	if (source->channel == QUEUE_CHANNEL_OPEN)
		queue_source_state_set(source, SOURCE_DOWN, code, text);
}

static bool do_write(void *ctx, const struct queue_copy *copy)
{
	struct source *source = ctx;
	const bool *full = source->config.reserve_full;

	if (copy->due_ms && full && __atomic_load_n(full, __ATOMIC_RELAXED)) {
		queue_source_engine_note_refused(source, CODE_LIMIT_EXCEEDED,
						 "nothing more may be put aside");
		return false;
	}
	if (source->ops->write(source->attachment, copy))
		return true;
	queue_source_engine_note_refused(source, CODE_OVERLOADED, "a copy cannot be written now");
	return false;
}

static void do_lost(void *ctx)
{
	struct source *source = ctx;

	if (!source->closing)
		source->config.handlers->lost(source->config.ctx);
}

static void do_reopen(void *ctx)
{
	struct source *source = ctx;

	if (source->channel != QUEUE_CHANNEL_OPEN)
		return;
	queue_source_state_set_channel(source, QUEUE_CHANNEL_CUT);
	source->ops->cut(source->attachment);
}

static void do_closed(void *ctx)
{
	struct source *source = ctx;

	source->drained = true;
}

static const struct held_ops held_ops = {.deliver = do_deliver,
					 .ack = do_ack,
					 .barrier = do_barrier,
					 .write = do_write,
					 .consume = do_consume,
					 .lost = do_lost,
					 .reopen = do_reopen,
					 .closed = do_closed};

// ---- running it

int queue_source_engine_init(struct source *source)
{
	assert(source->ops->messages_max > 0 && source->ops->acks_max > 0 &&
	       source->ops->acks_max <= HELD_ACKS_MAX);
	source->limits = (struct held_limits){.messages_max = source->ops->messages_max,
					      .bytes_max = BYTES_MAX,
					      .crowd_bytes = CROWD_BYTES,
					      .ended_max = ENDED_MAX,
					      .acks_max = source->ops->acks_max,
					      .retry_share = source->ops->retry_share};
	return held_new(&source->limits, source->config.topic->partitions, &held_ops, source,
			&source->held);
}

void queue_source_engine_renewal(struct source *source)
{
	const struct queue_ops *ops = source->ops;

	source->limits.renew_ms = ops->hold_max_ms ? ops->hold_max_ms(source->attachment) / 2 : 0;
}

static void count_memory(struct source *source, uint64_t bytes)
{
	const struct source_config *config = &source->config;

	if (config->handlers->hold && bytes != source->counted_bytes)
		config->handlers->hold(config->ctx, source->counted_bytes, bytes);
	source->counted_bytes = bytes;
}

void queue_source_engine_run(struct source *source)
{
	const struct source_config *config = &source->config;
	uint64_t room = source->crowded ? ROOM_AGAIN : ROOM_BYTES;

	source->crowded = config->handlers->room && !config->handlers->room(config->ctx, room);
	held_crowd(source->held, source->crowded);
	held_run(source->held, queue_source_state_time(source));
	count_memory(source, held_bytes(source->held));
}

uint64_t queue_source_engine_next_ns(const struct source *source)
{
	uint64_t now_ns = queue_source_state_now_ns(source);
	uint64_t next_ms = held_next_ms(source->held, queue_source_state_time(source));
	uint64_t next_ns = next_ms >= UINT64_MAX / MS_NS ? UINT64_MAX : next_ms * MS_NS;

	if (next_ns <= now_ns + HELD_NEAR_MS * MS_NS)
		next_ns = MIN(next_ns, now_ns + WALL_LOOK_NS);
	return source->crowded ? MIN(next_ns, now_ns + ROOM_LOOK_NS) : next_ns;
}
