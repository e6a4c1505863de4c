// The two clocks of a source: the wall clock, and a steady clock that runs on when the wall clock
// is set.
//
// Due times and expiry of messages are by the wall clock, because a producer or an operator has
// named that time. The delay of a nack is a span, and runs on the steady clock: the wall clock less
// the sum of all steps that were seen, where a step is a difference of more than STEP_MS between
// the wall clock and the monotonic clock. A smaller difference comes from a clock that is slewed,
// and is followed.
//
// The shift is of the group, not of its owner: it is written with every commit (window_text.c), so
// that rows of the retry store keep their meaning for the next owner, whatever its wall clock
// shows. Rows need not be written again when the clock is set. The steady clock never goes back
// behind the last commit, so a wall clock that was set back while no source looked is seen as well;
// one that was set forward meanwhile looks like a long time without an owner.
//
// A shift is kept for ever: two owners at once, of which one dropped it, would not agree on what
// the rows say.

#include "adapters/log/source_clock.h"

#include "adapters/log/source_look.h"
#include "core/base/clock.h"

#define STEP_MS 1000

static int64_t wall_ahead(int64_t wall_ms)
{
	return wall_ms - (int64_t)(clock_now_ns() / MS_NS);
}

void source_clock_init(struct source *source)
{
	source->clock = (struct source_clock){.ahead_ms = wall_ahead(clock_wall_ms())};
}

static void shift_set(struct source *source, int64_t shift_ms)
{
	if (source->clock.shift_ms == shift_ms)
		return;
	source->clock.shift_ms = shift_ms;
	source_look_rewind(source, 0);
	if (source->phase == PHASE_OPEN)
		source_state_mark_dirty(&source->parts[0]);
}

void source_clock_load(struct source *source)
{
	int64_t wall_ms = clock_wall_ms(), last_ms = 0, shift_ms = 0;

	for (uint32_t i = 0; i < source->part_count; ++i) {
		const struct window *window = &source->parts[i].window;
		int64_t written_ms = (int64_t)window->written_ms + window->shift_ms;

		if (written_ms <= last_ms)
			continue;
		last_ms = written_ms;
		shift_ms = window->shift_ms;
	}
	source->clock.ahead_ms = wall_ahead(wall_ms);
	if (wall_ms <= last_ms - STEP_MS)
		shift_ms += wall_ms - last_ms;
	shift_set(source, shift_ms);
}

struct source_time source_clock_read(struct source *source)
{
	struct source_clock *clock = &source->clock;
	int64_t wall_ms = clock_wall_ms(), ahead_ms = wall_ahead(wall_ms),
		step_ms = ahead_ms - clock->ahead_ms;

	clock->ahead_ms = ahead_ms;
	if (step_ms >= STEP_MS || step_ms <= -STEP_MS)
		shift_set(source, clock->shift_ms + step_ms);
	return (struct source_time){(uint64_t)wall_ms, (uint64_t)(wall_ms - clock->shift_ms)};
}
