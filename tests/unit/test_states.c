// The state machines of core/base/state_table.h: what a table does not have, its machine refuses.

#include "proxy/client/conn.h"
#include "tests/unit/unit.h"

static bool has(uint64_t moves, unsigned state, unsigned next)
{
	return state_table_has(moves, state, next);
}

static void conn_keeps_to_its_table(void)
{
	const uint64_t moves = STATE_TABLE_MOVES(CONN_STATES);

	for (unsigned state = CONN_NEW; state <= CONN_CLOSED; ++state)
		for (unsigned next = CONN_NEW; next <= CONN_CLOSED; ++next) {
			struct conn conn = {.state = (uint8_t)state};

			if (has(moves, state, next)) {
				conn_set_state(&conn, (enum conn_state)next);
				CHECK_EQ(conn.state, next);
			} else {
				CHECK_ABORTS(conn_set_state(&conn, (enum conn_state)next));
			}
		}
	CHECK(!has(moves, CONN_NEW, CONN_READY));     // not without the key
	CHECK(!has(moves, CONN_LEAVING, CONN_READY)); // nor back
	CHECK(!has(moves, CONN_CLOSED, CONN_CLOSED)); // closed once
}

UNIT_MAIN(UNIT_CASE(conn_keeps_to_its_table))
