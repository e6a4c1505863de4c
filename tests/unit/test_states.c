// The state machines of core/base/state_table.h: what a table does not have, its machine refuses.

#include "adapters/breaker.h"
#include "adapters/log/source_state.h"
#include "core/registry/resource_state.h"
#include "proxy/client/conn.h"
#include "proxy/group/group.h"
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

static void group_keeps_to_its_table(void)
{
	const uint64_t moves = STATE_TABLE_MOVES(GROUP_SOURCE_STATES);

	for (unsigned state = GROUP_SOURCE_CLOSED; state <= GROUP_SOURCE_CLOSING; ++state)
		for (unsigned next = GROUP_SOURCE_CLOSED; next <= GROUP_SOURCE_CLOSING; ++next) {
			struct group_home home = {.source_state = (uint8_t)state};

			if (has(moves, state, next)) {
				group_set_source_state(&home, (enum group_source_state)next);
				CHECK_EQ(home.source_state, next);
			} else {
				CHECK_ABORTS(group_set_source_state(&home,
								    (enum group_source_state)next));
			}
		}
	CHECK(!has(moves, GROUP_SOURCE_CLOSED, GROUP_SOURCE_CLOSING)); // there is none to close
	CHECK(!has(moves, GROUP_SOURCE_CLOSING, GROUP_SOURCE_OPEN));   // nor one that goes on
}

static void source_keeps_to_its_table(void)
{
	const uint64_t moves = STATE_TABLE_MOVES(SOURCE_PHASE_STATES);
	struct source *source = calloc(1, sizeof *source);

	CHECK(source);
	for (unsigned state = PHASE_LOADING; state <= PHASE_GONE; ++state)
		for (unsigned next = PHASE_LOADING; next <= PHASE_GONE; ++next) {
			source->phase = (enum source_phase)state;
			if (has(moves, state, next)) {
				source_state_set_phase(source, (enum source_phase)next);
				CHECK_EQ(source->phase, next);
			} else {
				CHECK_ABORTS(
					source_state_set_phase(source, (enum source_phase)next));
			}
		}
	free(source);
	CHECK(!has(moves, PHASE_LOADING, PHASE_OPEN)); // not before its epoch is durable
	CHECK(!has(moves, PHASE_GONE, PHASE_OPEN));
}

static void on_told(void *ctx, enum source_state state, enum code code, const char *text)
{
	*(enum source_state *)ctx = state;
}

static void a_source_tells_by_its_table(void)
{
	static const struct source_handlers handlers = {.state = on_told};
	const uint64_t moves =
		STATE_TABLE_MOVES(SOURCE_STATES) | STATE_TABLE_MOVES(SOURCE_LOG_STATES);
	struct source *source = calloc(1, sizeof *source);
	enum source_state told;

	CHECK(source);
	source->config = (struct source_config){.handlers = &handlers, .ctx = &told};
	for (unsigned state = SOURCE_OPENING; state <= SOURCE_GONE; ++state)
		for (unsigned next = SOURCE_OPENING; next <= SOURCE_GONE; ++next) {
			source->state = told = (enum source_state)state;
			if (next == state || has(moves, state, next)) {
				source_state_set(source, (enum source_state)next, CODE_OK, NULL);
				CHECK_EQ(told, next);
			} else {
				CHECK_ABORTS(source_state_set(source, (enum source_state)next,
							      CODE_OK, NULL));
			}
		}
	free(source);
	CHECK(!has(moves, SOURCE_GONE, SOURCE_DOWN)); // the last word
	CHECK(!has(moves, SOURCE_READY, SOURCE_OPENING));
}

static void circuit_keeps_to_its_table(void)
{
	const uint64_t moves = STATE_TABLE_MOVES(BREAKER_STATES);

	for (unsigned state = BREAKER_CLOSED; state <= BREAKER_OPEN; ++state)
		for (unsigned next = BREAKER_CLOSED; next <= BREAKER_OPEN; ++next) {
			struct breaker breaker = {.circuit = (uint8_t)state};

			if (has(moves, state, next)) {
				breaker_set_circuit(&breaker, (enum breaker_circuit)next);
				CHECK_EQ(breaker.circuit, next);
			} else {
				CHECK_ABORTS(
					breaker_set_circuit(&breaker, (enum breaker_circuit)next));
			}
		}
	CHECK(!has(moves, BREAKER_CLOSED, BREAKER_HALF_OPEN)); // a probe alone refuses nothing
}

static void row_with(enum registry_kind kind, unsigned state, struct row *ret)
{
	row_init(kind, ret);
	*(kind == REGISTRY_TOPIC ? &ret->model.topic.state : &ret->model.group.state) =
		(uint8_t)state;
}

static void resource_state_keeps_to_its_table(void)
{
	const uint64_t moves = STATE_TABLE_MOVES(RESOURCE_STATES);
	struct row row;

	for (enum registry_kind kind = REGISTRY_TOPIC; kind <= REGISTRY_GROUP; ++kind)
		for (unsigned state = MODEL_CREATING; state <= MODEL_FAILED; ++state) {
			row_with(kind, state, &row);
			if (has(moves, state, MODEL_ABSENT))
				resource_state_end(kind, &row);
			else
				CHECK_ABORTS(resource_state_end(kind, &row));
			for (unsigned next = MODEL_CREATING; next <= MODEL_FAILED; ++next) {
				row_with(kind, state, &row);
				if (has(moves, state, next)) {
					resource_state_move(kind, &row, (enum model_state)next);
					CHECK_EQ(resource_state_get(kind, &row), next);
				} else {
					CHECK_ABORTS(resource_state_move(kind, &row,
									 (enum model_state)next));
				}
			}
		}
	CHECK(!has(moves, MODEL_DELETING, MODEL_READY)); // what is going does not come back
	CHECK(!has(moves, MODEL_READY, MODEL_ABSENT));   // its backend is asked first
	CHECK(!has(moves, MODEL_READY, MODEL_FAILED));   // a refused change leaves it serving
}

UNIT_MAIN(UNIT_CASE(conn_keeps_to_its_table), UNIT_CASE(group_keeps_to_its_table),
	  UNIT_CASE(source_keeps_to_its_table), UNIT_CASE(a_source_tells_by_its_table),
	  UNIT_CASE(circuit_keeps_to_its_table), UNIT_CASE(resource_state_keeps_to_its_table))
