// What every part of a queue source may do to the whole of it: tell a state, ask for the next run
// of the pump, and read the clocks.
//
// Two clocks. Due times of messages are by the wall clock, because a producer has named them. The
// steady clock is the loop's monotonic one, unlike a log source's, which is the group's and is
// written with its position: here no span of it outlives the process (docs/queue.md, Times).

#include "adapters/queue/source_state.h"

#include "core/base/clock.h"

void queue_source_state_set(struct source *source, enum source_state state, enum code code,
			    const char *text)
{
	if (source->state == state || source->closing)
		return;
	assert(state_table_has(STATE_TABLE_MOVES(SOURCE_STATES), source->state, state));
	source->state = state;
	source->config.handlers->state(source->config.ctx, state, code, text);
}

void queue_source_state_set_channel(struct source *source, enum queue_channel channel)
{
	assert(state_table_has(STATE_TABLE_MOVES(QUEUE_CHANNEL_STATES), source->channel, channel));
	source->channel = channel;
}

void queue_source_state_pump_later(struct source *source)
{
	if (source->pump_posted)
		return;
	source->pump_posted = true;
	loop_defer(source->config.loop, &source->pump);
}

uint64_t queue_source_state_now_ns(const struct source *source)
{
	return loop_now_ns(source->config.loop);
}

struct held_time queue_source_state_time(const struct source *source)
{
	return (struct held_time){(uint64_t)clock_wall_ms(),
				  queue_source_state_now_ns(source) / MS_NS};
}
