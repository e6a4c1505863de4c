// What every step of a source may do to the whole of it: tell a state, ask for the next run of the
// pump, and ask for a commit.
//
// These three are the floor under the files of the source: each of them may end with one, so a
// change anywhere (a settle, an answer of the backend, a step of the clock) leads on without a call
// upwards. Invariant: none calls the pump or starts a commit itself; both follow from the loop.
// What the pump does is in source.c, what a commit holds in source_commit.c.

#include "adapters/log/source_state.h"

#define COMMIT_IDLE_NS (500 * MS_NS) // until a change is committed that no settle waits for

void source_state_set(struct source *source, enum source_state state, enum code code,
		      const char *text)
{
	if (source->state == state || source->closing)
		return;
	assert(state_table_has(STATE_TABLE_MOVES(SOURCE_STATES) |
				       STATE_TABLE_MOVES(SOURCE_LOG_STATES),
			       source->state, state));
	source->state = state;
	source->config.handlers->state(source->config.ctx, state, code, text);
}

void source_state_set_phase(struct source *source, enum source_phase phase)
{
	assert(state_table_has(STATE_TABLE_MOVES(SOURCE_PHASE_STATES), source->phase, phase));
	source->phase = phase;
}

// Reads that were under way when the source went may still fail: GONE stays the last word.
void source_state_set_down(struct source *source, enum code code, const char *text)
{
	if (source->phase != PHASE_GONE)
		source_state_set(source, SOURCE_DOWN, code, text);
}

// Each read and commit that was under way may say so.
void source_state_set_gone(struct source *source, const char *text)
{
	if (source->phase != PHASE_GONE)
		source_state_set_phase(source, PHASE_GONE);
	source_state_set(source, SOURCE_GONE, CODE_NOT_FOUND, text);
}

void source_state_pump_later(struct source *source)
{
	if (source->pump_posted)
		return;
	source->pump_posted = true;
	loop_defer(source->config.loop, &source->pump);
}

void source_state_mark_dirty(struct part *part)
{
	struct source *source = part->source;

	part->dirty = true;
	if (!source->commit_at_ns)
		source->commit_at_ns = loop_now_ns(source->config.loop) + COMMIT_IDLE_NS;
}
