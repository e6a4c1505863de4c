// A state machine as a table that its code is held to and that its picture is drawn from.
//
// A table is an X-macro with one row a transition: X(state, "event", next, "a sentence"). The
// machine has one function that changes the state, and that function asserts that the table has
// the transition. `tests/tools/generated_docs.py` draws docs/states.md from the same rows. A
// machine has at most eight states, which its enum numbers from 0.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define STATE_TABLE_MAX 8 // states of a machine

#define STATE_TABLE_BIT(state, next)                  (UINT64_C(1) << ((state) * STATE_TABLE_MAX + (next)))
#define STATE_TABLE_ROW(state, event, next, sentence) | STATE_TABLE_BIT(state, next)
// All transitions of a table, a bit each: a constant.
#define STATE_TABLE_MOVES(table) (UINT64_C(0) table(STATE_TABLE_ROW))

static inline bool state_table_has(uint64_t moves, unsigned state, unsigned next)
{
	return state < STATE_TABLE_MAX && next < STATE_TABLE_MAX &&
	       (moves & STATE_TABLE_BIT(state, next));
}
